"""What people look at: pictures, figures, pages."""

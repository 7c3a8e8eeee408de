"""Visual output: pictures, figures, pages."""

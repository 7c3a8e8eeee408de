"""The local app: predicts radiographs that a browser uploads and shows the results."""

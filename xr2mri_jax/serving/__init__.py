"""The local app: the page of a prediction, for radiographs that a browser uploads."""

"""How the network of `preprocess.knee_finder` is fitted: pictures, pseudo-labels, the loop."""

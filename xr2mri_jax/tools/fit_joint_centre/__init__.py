"""How the network of `preprocess.joint_centre` is fitted: examples from the phantom, the loop."""

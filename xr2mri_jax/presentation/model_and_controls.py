"""Names of the model and its controls: keys in files and labels on pages."""

MODEL = "model"
LABELS = {
    MODEL: "model",
    "mean_volume": "mean volume",
    "nearest_neighbour": "nearest neighbour",
    "shuffled_xray": "shuffled radiographs",
    "mean_radiograph": "mean radiograph",
    "pca": "PCA",
    "mean_shape": "mean shape",
    "mean_shape_scaled": "mean shape, predicted width",
    "mean_shape_true_width": "mean shape, true width",
    "true_shape_mean_width": "true shape, mean width",
    "mean_prediction": "mean prediction",
}

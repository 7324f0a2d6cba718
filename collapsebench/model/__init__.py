"""The model: tensors in, tensors out. It knows no component, hook or dataset."""

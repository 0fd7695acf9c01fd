"""Small commands around a study: manifests, exports, pictures, converters."""

"""Videos on disk and in memory: reading, writing, resampling, panels."""

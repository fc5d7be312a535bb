"""Reports that people look at and programs obey: objects, pages, plots, files."""

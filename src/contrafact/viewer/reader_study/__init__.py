"""The reader study: readers tell real from synthetic images, and which image shows a more severe finding."""

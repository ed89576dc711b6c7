"""Convert results to pixels, sentences and the data of pages. Never imports torch."""

"""The page to work with in a browser: what it answers, without a word of how it is shown, and the page itself."""

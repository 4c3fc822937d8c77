"""A small shop whose new checkout is rolled out on this machine: its service, its traffic, its specs, and the story."""

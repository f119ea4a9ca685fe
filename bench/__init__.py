"""Speed, as ratios within one run. `make bench` prints them; nothing here decides a test."""

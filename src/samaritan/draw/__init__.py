"""Pictures of results, for people: overlays, montages, contact sheets."""

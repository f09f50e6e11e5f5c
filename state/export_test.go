package state

// OpenFS is Open on another file system, for simulated crashes.
var OpenFS = open

// OpenWatched is Open on another file system, which fails.
var OpenWatched = openWatched

package apps

// What background work does, for tests to call in their own time.
var (
	Learn  = (*Service).learn
	Follow = (*Service).follow
)

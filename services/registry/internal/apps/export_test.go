package apps

// What background work does, for tests to call in their own time.
var (
	Learn  = (*Service).learn
	Follow = (*Service).follow
)

// The choice of addresses, without a Service.
var (
	HostName = Places.hostName
	Choose   = Places.choose
)

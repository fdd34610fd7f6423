package agentenv

// Sidecars says where an agent finds the stdio MCP servers of its settings, which the
// runtime runs beside it.
type Sidecars struct {
	// Socket is a unix socket's path. A client sends one SidecarHello as a line of JSON, reads
	// one SidecarAnswer, and speaks MCP as over standard input and output from then on.
	Socket string `json:"socket"`
	Token  string `json:"token"`
	// Servers are the commands as the app's own settings have them, by name.
	Servers map[string]Command `json:"servers"`
}

// SidecarCommand is what stands in the settings in place of a sidecar's command; its one
// argument is the server's name.
const SidecarCommand = "agentcloud-sidecar"

// SidecarHello says which server a client wants.
type SidecarHello struct {
	Token  string `json:"token"`
	Server string `json:"server"`
}

// SidecarAnswer says whether it may have it.
type SidecarAnswer struct {
	Error string `json:"error,omitempty"` // empty: it may
}

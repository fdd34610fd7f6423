package agentenv

// Program is a server that is no Python app: what to start, and how it is spoken to.
type Program struct {
	Kind Kind `json:"kind"`
	// Args are the program and its arguments; none for workflows without a server. {port}
	// stands for the port of one that speaks HTTP.
	Args []string `json:"args"`
	// Env is what it needs in its environment beside Launch.Env; no secrets.
	Env map[string]string `json:"env,omitempty"`
	// Path are folders in which it looks for programs first.
	Path      []string  `json:"path,omitempty"`
	Transport Transport `json:"transport"`
	// HTTPPath is where one that speaks HTTP takes messages; empty means /mcp.
	HTTPPath string `json:"http_path,omitempty"`
	// Sessions is how many processes one that speaks by its standard input and output may
	// have, which is one for each session; 0 means 16.
	Sessions int `json:"sessions,omitempty"`
	// Image is where it runs; nil for a program of this machine.
	Image *Image `json:"image,omitempty"`
	// Worker is how its durable workflows are run; nil: it has none.
	Worker *Worker `json:"worker,omitempty"`
}

// Worker is what runs durable workflows in JavaScript or TypeScript.
type Worker struct {
	Node       string   `json:"node"`                 // absolute path of the program
	Bundle     string   `json:"bundle"`               // absolute path of the workflows' code
	Activities string   `json:"activities,omitempty"` // absolute path of the file that exports them
	Workflows  []string `json:"workflows"`            // their names
}

// Image is an OCI image whose files are laid out.
type Image struct {
	Runc   string `json:"runc"`   // absolute path of the program
	Rootfs string `json:"rootfs"` // folder with the image's files, which nobody changes
	Folder string `json:"folder"` // inside, where the program starts
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
}

// A Transport is how a program speaks MCP.
type Transport string

// The transports.
const (
	TransportStdio Transport = "stdio"
	TransportHTTP  Transport = "http" // streamable HTTP at the port that PORT names
)

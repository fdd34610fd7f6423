package projectfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Kind is what sort of server a project is.
type Kind string

// The kinds.
const (
	MCPAgent    Kind = "mcp-agent"
	FastMCP     Kind = "fastmcp"
	NodeKind    Kind = "node"
	CommandKind Kind = "command"
	ImageKind   Kind = "image"
)

// The transports.
const (
	Stdio = "stdio"
	HTTP  = "http"
)

// Serving is how a program that is no Python app is spoken to.
type Serving struct {
	// Transport is Stdio or HTTP; empty: not said.
	Transport string            `json:"transport,omitempty"`
	Path      string            `json:"path,omitempty"`
	Sessions  int               `json:"sessions,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
}

// Node is a server in JavaScript or TypeScript.
type Node struct {
	Entry   string   `json:"entry,omitempty"`
	Args    []string `json:"args,omitempty"`
	Build   Script   `json:"build,omitempty"`
	Scripts bool     `json:"scripts,omitempty"`
	// Workflows is the file that exports durable workflows, and Activities the one with
	// what they do; empty: there are none.
	Workflows  string `json:"workflows,omitempty"`
	Activities string `json:"activities,omitempty"`
	Serving
}

// Command is any program that speaks MCP.
type Command struct {
	Run []string `json:"run"`
	Serving
}

// Image is an OCI image whose program speaks MCP.
type Image struct {
	Ref string   `json:"ref"`
	Run []string `json:"run,omitempty"`
	Serving
}

// Script is the name of a script of package.json; empty: none.
type Script string

// UnmarshalJSON takes true for the script build.
func (s *Script) UnmarshalJSON(text []byte) error {
	var wanted bool
	if json.Unmarshal(text, &wanted) != nil {
		return json.Unmarshal(text, (*string)(s))
	}
	if *s = ""; wanted {
		*s = "build"
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// sections are what is said of each kind that has a section of its own.
func (f File) sections() map[Kind]Serving {
	all := map[Kind]Serving{}
	if f.Node != nil {
		all[NodeKind] = f.Node.Serving
	}
	if f.Command != nil {
		all[CommandKind] = f.Command.Serving
	}
	if f.Image != nil {
		all[ImageKind] = f.Image.Serving
	}
	return all
}

// Said is the kind that the file names, or the one whose section it has; empty: none.
func (f File) Said() Kind {
	if f.Kind != "" {
		return f.Kind
	}
	for kind := range f.sections() {
		return kind // checkKind lets through no more than one
	}
	return ""
}

// checkKind finds sections that do not belong together, and names that are none.
func (d Document) checkKind() Mistakes {
	var all Mistakes
	sections := d.File.sections()
	said := d.File.Said()
	for _, kind := range slices.Sorted(maps.Keys(sections)) {
		switch {
		case d.File.Kind != "" && kind != d.File.Kind:
			all = append(all, d.At(string(kind), fmt.Sprintf("this section is for `kind: %s`, and the project is `kind: %s`; remove one", kind, d.File.Kind)))
		case d.File.Kind == "" && len(sections) > 1:
			all = append(all, d.At(string(kind), "there are sections for several kinds; keep one, or say `kind`"))
		}
		all = append(all, d.checkServing(string(kind), sections[kind])...)
	}
	if _, there := sections[said]; !there && (said == CommandKind || said == ImageKind) {
		all = append(all, d.At("kind", fmt.Sprintf("say what to run in a section `%s:`", said)))
	}
	return all
}

func (d Document) checkServing(section string, s Serving) Mistakes {
	var all Mistakes
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		switch {
		case !variableName.MatchString(name):
			all = append(all, d.At(section+".env."+name, "this is no variable's name; use letters, digits and _"))
		case strings.ContainsRune(s.Env[name], 0):
			all = append(all, d.At(section+".env."+name, "a variable cannot hold a zero byte"))
		}
	}
	if s.Path != "" && !strings.HasPrefix(s.Path, "/") {
		all = append(all, d.At(section+".path", "a path begins with /"))
	}
	if s.Path != "" && s.Transport == Stdio {
		all = append(all, d.At(section+".path", "only a server that speaks http has a path"))
	}
	return all
}

package runs

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostSignatures bounds what is kept read: a version's row and a compiled schema each.
const mostSignatures = 512

// signature is what a start has to know of a workflow or tool. What a version captured
// never changes once it is live, and to read and compile it costs more than to check a
// call by it.
type signature struct {
	version store.Version
	tool    bool
	params  *parameters
	// priority of runs whose caller says none, as the project has it; 0: it says none.
	priority int32
}

func newSignatures() *lru.Cache[[2]string, signature] {
	cache, err := lru.New[[2]string, signature](mostSignatures)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return cache
}

// signature finds how a live version's workflow or tool is called.
func (s *Service) signature(ctx context.Context, versionID, name string) (signature, error) {
	key := [2]string{versionID, name}
	if known, ok := s.signatures.Get(key); ok {
		return known, nil
	}
	v, err := s.deps.Store.Version(ctx, versionID)
	if err != nil {
		return signature{}, err
	}
	found, err := signatureOf(v, name)
	if err == nil {
		s.signatures.Add(key, found)
	}
	return found, err
}

// wholeObject says that the workflows of a version take one object.
func wholeObject(v store.Version) bool { return v.Artifact.GetProgram().GetWorker() != nil }

// signatureOf reads it from what was captured of a version.
func signatureOf(v store.Version, name string) (signature, error) {
	schema, tool, err := schemaOf(v.Capture, name)
	if err != nil {
		return signature{}, err
	}
	parse := parseParameters
	if wholeObject(v) {
		parse = wholeParameters
	}
	params, err := parse(schema)
	if err != nil {
		return signature{}, err
	}
	project, err := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	if err != nil {
		return signature{}, fmt.Errorf("read %s of %s: %w", projectfile.Name, v.ID, err)
	}
	v.Capture = store.Capture{} // large, and read
	return signature{version: v, tool: tool, params: params, priority: project.Runs[name].Priority}, nil
}

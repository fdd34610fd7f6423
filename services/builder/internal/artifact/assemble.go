package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// rules is a digest of everything but the bundle that decides what it is built
// into. A new interpreter or a new version of the recipe makes another.
func rules(p project) string {
	all := []any{recipe.Version, engine.Version, engine.Platform(), p.plan.Python.Version, p.plan.Requirements, p.plan.Constraints, p.plan.Options, p.tools}
	if p.plan.Server != nil {
		all = append(all, p.plan.Server)
	}
	if p.plan.Server != nil && p.plan.Server.Node != nil && p.plan.Server.Node.Workflows != "" {
		all = append(all, agenthost.Digest()) // which bundles them
	}
	return digestOf(all...)
}

// artifactID names what environments and bundle make together.
func artifactID(b store.Bundle, environments map[string]string) string {
	return "art_" + digestOf(b.Digest, environments)
}

func digestOf(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings, lists and maps of them always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// assemble makes the answer. The manifest comes from the files each time: settings
// may hold a secret, which must not lie in the database, too.
func (s *Service) assemble(p project, build store.Build) (*builderv1.Artifact, error) {
	settings, secrets, err := p.manifest.JSON()
	if err != nil {
		return nil, err
	}
	commands, err := s.commands(p, build.Environments)
	if err != nil {
		return nil, err
	}
	name := p.plan.Program.Name
	if name == "" {
		name = p.manifest.AppName()
	}
	a := &builderv1.Artifact{
		ArtifactId: build.ArtifactID, BundleId: p.bundle.ID, EnvironmentDigest: build.Environments[app],
		Language: builderv1.Language_LANGUAGE_PYTHON, Entry: p.plan.Program.Entry,
		AppPath: s.deps.Disk.Bundle(p.bundle.OrgID, p.bundle.Digest),
		Manifest: &builderv1.Manifest{
			SettingsJson: settings, SecretsJson: secrets, SecretHandles: p.manifest.Handles, EnvHandles: p.manifest.EnvHandles,
			UserParams: p.manifest.UserParams, AppName: name, DeclaresWorkflows: p.plan.Program.Workflows,
			ProjectJson: p.manifest.Project.JSON, ProjectLines: lines(p.manifest.Project.Lines),
		},
		StdioCommands: commands,
	}
	s.settle(p, a, build.Environments[app])
	a.Program, err = s.program(p, a, build.Environments)
	return a, err
}

// settle says where the app's files are, and its environment.
func (s *Service) settle(p project, a *builderv1.Artifact, digest string) {
	switch {
	case p.plan.Server == nil:
		a.EnvironmentPath = s.deps.Disk.Environment(digest)
	case p.plan.Server.Image != nil:
		a.Language, a.AppPath = builderv1.Language_LANGUAGE_UNSPECIFIED, s.deps.Disk.Tool(digest)
	case p.plan.Server.Node != nil:
		a.Language, a.AppPath = builderv1.Language_LANGUAGE_NODE, s.deps.Disk.Tool(digest)
	default:
		a.Language = builderv1.Language_LANGUAGE_UNSPECIFIED
		if digest != "" {
			a.EnvironmentPath = s.deps.Disk.Environment(digest)
		}
	}
}

func lines(of map[string]int) map[string]int32 {
	out := make(map[string]int32, len(of))
	for field, line := range of {
		out[field] = int32(line) //nolint:gosec // the file has at most 256 KiB
	}
	return out
}

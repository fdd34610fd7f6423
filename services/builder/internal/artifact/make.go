package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/manifest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// make builds a bundle and says how it went.
func (s *Service) make(ctx context.Context, b store.Bundle, j *job) outcome {
	finish := s.record(j, b.ID)
	defer finish()
	start := s.deps.Now()
	limited, cancel := context.WithTimeout(ctx, s.deps.Options.Deadline)
	defer cancel()
	artifact, err := s.build(limited, b, j)
	if err == nil {
		j.say(busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprintf("built in %s", s.deps.Now().Sub(start).Round(time.Millisecond)))
		return outcome{artifact: artifact}
	}
	if cause := context.Cause(ctx); cause != nil {
		return outcome{err: cause}
	}
	failure := failureOf(err, s.deps.Options.Deadline)
	if failure == nil {
		return outcome{err: err}
	}
	j.say(busv1.LogLevel_LOG_LEVEL_ERROR, failure.GetReason())
	return outcome{failure: failure}
}

// failureOf is what the author of the bundle can mend; nil for anything else.
func failureOf(err error, deadline time.Duration) *builderv1.BuildFailure {
	var plan *recipe.Problem
	var settings *manifest.Problem
	var declared projectfile.Mistakes
	switch {
	case errors.As(err, &plan):
		return &builderv1.BuildFailure{Reason: plan.Reason, Detail: plan.Detail}
	case errors.As(err, &settings):
		return &builderv1.BuildFailure{Reason: settings.Reason}
	case errors.As(err, &declared):
		return &builderv1.BuildFailure{Reason: declared[0].String(), Detail: declared[1:].Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &builderv1.BuildFailure{Reason: fmt.Sprintf("the build took longer than %s and was stopped", deadline)}
	}
	return nil
}

// project is a bundle that has been read.
type project struct {
	bundle   store.Bundle
	plan     recipe.Plan
	manifest manifest.Manifest
	tools    map[string]recipe.Tool
}

// app is the place of the app's own environment among those of a build.
const app = "app"

func (s *Service) build(ctx context.Context, b store.Bundle, j *job) (*builderv1.Artifact, error) {
	if err := s.deps.Store.TouchBundle(ctx, b.ID, s.deps.Now()); err != nil {
		return nil, err
	}
	p, err := s.read(ctx, b)
	if err != nil {
		return nil, err
	}
	s.introduce(p, j)
	made, err := s.find(ctx, p)
	if err != nil {
		return nil, err
	}
	if made != nil {
		j.say(busv1.LogLevel_LOG_LEVEL_INFO, "the artifact of these files is there already")
		return s.assemble(p, *made)
	}
	release, err := s.place(ctx, j)
	if err != nil {
		return nil, err
	}
	defer release()
	environments, err := s.install(ctx, p, j)
	if err != nil {
		return nil, err
	}
	build := store.Build{BundleID: b.ID, Rules: rules(p), ArtifactID: artifactID(b, environments), Environments: environments, MadeAt: s.deps.Now()}
	if err := s.deps.Store.SaveBuild(ctx, build); err != nil {
		return nil, err
	}
	return s.assemble(p, build)
}

// read looks at the files: pure work on what is on the disk.
func (s *Service) read(ctx context.Context, b store.Bundle) (project, error) {
	files := os.DirFS(s.deps.Disk.Bundle(b.OrgID, b.Digest))
	if _, err := fs.Stat(files, "."); err != nil {
		return project{}, fmt.Errorf("the files of bundle %s are gone: %w", b.ID, err)
	}
	settings, err := manifest.Read(files)
	if err != nil {
		return project{}, err
	}
	machine, err := s.machine(ctx, recipe.KindOf(files, settings.Project.File))
	if err != nil {
		return project{}, err
	}
	machine.Project = settings.Project.File
	plan, err := recipe.Make(files, machine)
	if err != nil {
		return project{}, err
	}
	tools, err := readTools(settings)
	return project{bundle: b, plan: plan, manifest: settings, tools: tools}, err
}

// machine is what there is to build with, of what a kind of project may need.
func (s *Service) machine(ctx context.Context, kind projectfile.Kind) (recipe.Options, error) {
	options := recipe.Options{Prefer: s.deps.Options.Prefer, NodeScripts: s.deps.Options.NodeScripts}
	var err error
	if kind == projectfile.NodeKind {
		options.Node, err = s.deps.Engine.NodeVersion(ctx)
		return options, err
	}
	options.Interpreters, err = s.deps.Engine.Interpreters(ctx)
	return options, err
}

// wishes are what the project asks of Python.
func (p project) wishes() engine.Wishes {
	w := engine.Wishes{
		Python: p.plan.Python, Requirements: p.plan.Requirements, Constraints: p.plan.Constraints, Options: p.plan.Options, Source: p.plan.Source,
	}
	if p.plan.Server == nil {
		w.Import = p.plan.Program.Module()
	}
	return w
}

// introduce says what was found, and what the author should know.
func (s *Service) introduce(p project, j *job) {
	j.say(busv1.LogLevel_LOG_LEVEL_INFO, describe(p))
	for _, warning := range p.plan.Warnings {
		j.say(busv1.LogLevel_LOG_LEVEL_WARNING, warning)
	}
	for _, name := range recipe.MissingProviders(p.plan, p.manifest.Providers()) {
		j.say(busv1.LogLevel_LOG_LEVEL_WARNING, fmt.Sprintf("the settings have a section %s, and no dependency brings the package for it; if the app uses it, ask for mcp-agent[%s]", name, name))
	}
}

// find returns the build of the same bundle under the same rules, if all of it is
// still there.
func (s *Service) find(ctx context.Context, p project) (*store.Build, error) {
	build, ok, err := s.deps.Store.FindBuild(ctx, p.bundle.ID, rules(p))
	if err != nil || !ok {
		return nil, err
	}
	for place, digest := range build.Environments {
		there, err := s.deps.Engine.Claim(ctx, digest, kindOf(p, place))
		if err != nil || !there {
			return nil, err
		}
	}
	return &build, nil
}

// place waits until fewer builds than allowed are running.
func (s *Service) place(ctx context.Context, j *job) (release func(), err error) {
	release = func() { <-s.places }
	select {
	case s.places <- struct{}{}:
		return release, nil
	default:
	}
	j.say(busv1.LogLevel_LOG_LEVEL_INFO, "waiting for another build to finish")
	select {
	case s.places <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// install makes every environment that the project needs.
func (s *Service) install(ctx context.Context, p project, j *job) (map[string]string, error) {
	sink := func(text string) { j.say(busv1.LogLevel_LOG_LEVEL_INFO, text) }
	if p.plan.Server != nil {
		return s.installServer(ctx, p, sink)
	}
	digest, err := s.deps.Engine.Environment(ctx, p.wishes(), sink)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Engine.Compile(ctx, digest, s.deps.Disk.Bundle(p.bundle.OrgID, p.bundle.Digest)); err != nil {
		return nil, err
	}
	environments := map[string]string{app: digest}
	return environments, s.installTools(ctx, p, environments, sink)
}

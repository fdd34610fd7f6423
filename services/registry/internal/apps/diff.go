package apps

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// DiffVersions tells what differs between two versions.
func (s *Service) DiffVersions(ctx context.Context, req *registryv1.DiffVersionsRequest) (*registryv1.DiffVersionsResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), "")
	if err != nil {
		return nil, err
	}
	one, err := s.kept(ctx, app, req.GetVersion())
	if err != nil {
		return nil, err
	}
	other, err := s.kept(ctx, app, req.GetOther())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, detailsWait)
	defer cancel()
	facts, err := s.facts(ctx, app, true, one.ID, other.ID)
	if err != nil {
		return nil, err
	}
	answer := &registryv1.DiffVersionsResponse{Version: versionProto(one), Other: versionProto(other)}
	addFacts(answer.GetVersion(), facts[one.ID])
	addFacts(answer.GetOther(), facts[other.ID])
	compare(answer, facts[one.ID], facts[other.ID])
	return answer, nil
}

// compare fills in what differs. What one of the two has not kept is a note.
func compare(d *registryv1.DiffVersionsResponse, before, after *schedulerv1.VersionFacts) {
	for _, side := range []struct {
		v *registryv1.Version
		f *schedulerv1.VersionFacts
	}{{d.GetVersion(), before}, {d.GetOther(), after}} {
		if !side.f.GetFilesKept() {
			d.Notes = append(d.Notes, fmt.Sprintf("the files of version %d are not kept here", side.v.GetNumber()))
		}
		if !side.f.GetEnvironmentKept() {
			d.Notes = append(d.Notes, fmt.Sprintf("the environment of version %d is not kept here", side.v.GetNumber()))
		}
	}
	if before.GetFilesKept() && after.GetFilesKept() {
		d.Files = fileChanges(before.GetFiles(), after.GetFiles())
	}
	if before.GetEnvironmentKept() && after.GetEnvironmentKept() {
		d.Dependencies = dependencyChanges(before.GetDependencies(), after.GetDependencies())
	}
	d.Tools = toolChanges(before.GetTools(), after.GetTools())
}

func fileChanges(before, after []*schedulerv1.BundleFile) (changes []*registryv1.FileChange) {
	key := func(f *schedulerv1.BundleFile) string { return f.GetPath() }
	same := func(a, b *schedulerv1.BundleFile) bool { return a.GetDigest() == b.GetDigest() }
	for path, d := range differences(before, after, key, same) {
		changes = append(changes, &registryv1.FileChange{Path: path, Change: d.what, BytesBefore: d.before.GetBytes(), BytesAfter: d.after.GetBytes()})
	}
	slices.SortFunc(changes, func(a, b *registryv1.FileChange) int { return cmp.Compare(a.GetPath(), b.GetPath()) })
	return changes
}

func dependencyChanges(before, after []*schedulerv1.Dependency) (changes []*registryv1.DependencyChange) {
	key := func(d *schedulerv1.Dependency) string { return d.GetName() }
	same := func(a, b *schedulerv1.Dependency) bool { return a.GetVersion() == b.GetVersion() }
	for name, d := range differences(before, after, key, same) {
		changes = append(changes, &registryv1.DependencyChange{Name: name, Change: d.what, Before: d.before.GetVersion(), After: d.after.GetVersion()})
	}
	slices.SortFunc(changes, func(a, b *registryv1.DependencyChange) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return changes
}

func toolChanges(before, after []*schedulerv1.ToolDefinition) (changes []*registryv1.ToolChange) {
	key := func(t *schedulerv1.ToolDefinition) string { return t.GetName() }
	same := func(a, b *schedulerv1.ToolDefinition) bool { return a.GetHash() == b.GetHash() }
	for name, d := range differences(before, after, key, same) {
		changes = append(changes, &registryv1.ToolChange{Name: name, Change: d.what})
	}
	slices.SortFunc(changes, func(a, b *registryv1.ToolChange) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return changes
}

// unlike is one thing that is not the same on both sides.
type unlike[T any] struct {
	what          registryv1.Change
	before, after T
}

// differences are the things that are not the same on both sides, by key.
func differences[T any](before, after []T, key func(T) string, same func(a, b T) bool) map[string]unlike[T] {
	old, now := map[string]T{}, map[string]T{}
	for _, one := range before {
		old[key(one)] = one
	}
	for _, one := range after {
		now[key(one)] = one
	}
	found := map[string]unlike[T]{}
	for name := range maps.Keys(now) {
		switch was, had := old[name]; {
		case !had:
			found[name] = unlike[T]{what: registryv1.Change_CHANGE_ADDED, after: now[name]}
		case !same(was, now[name]):
			found[name] = unlike[T]{what: registryv1.Change_CHANGE_CHANGED, before: was, after: now[name]}
		}
	}
	for name := range maps.Keys(old) {
		if _, has := now[name]; !has {
			found[name] = unlike[T]{what: registryv1.Change_CHANGE_REMOVED, before: old[name]}
		}
	}
	return found
}

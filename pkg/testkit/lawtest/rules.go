package lawtest

import (
	"fmt"
	"slices"
	"strings"
)

// rooms are the six services with the rooms below each, which it may call.
var rooms = map[string][]string{
	"gateway":       {"registry", "scheduler", "builder", "secretsbroker", "telemetry"},
	"registry":      {"scheduler", "builder", "secretsbroker"},
	"scheduler":     {"builder", "secretsbroker"},
	"builder":       nil,
	"secretsbroker": nil,
	"telemetry":     nil,
}

// contracts are the proto packages of rooms that are not named as the room.
var contracts = map[string]string{"secrets": "secretsbroker"}

// only are packages that one place alone may import.
var only = []struct{ what, where, why string }{
	{"go.temporal.io/", "services/scheduler", "only the scheduler speaks Temporal"},
	{"k8s.io/", "services/scheduler/internal/runtime/kubernetes", "only one runtime speaks Kubernetes"},
	{"sigs.k8s.io/", "services/scheduler/internal/runtime/kubernetes", "only one runtime speaks Kubernetes"},
	{"github.com/hashicorp/vault/", "services/secretsbroker/internal/vault", "only the secret store speaks Vault"},
	{"github.com/nats-io/nats-server/", "services/allinone", "only the all-in-one holds the NATS server"},
	{"modernc.org/sqlite", "pkg/sqldb", "only sqldb opens databases"},
	{"github.com/jackc/pgx/", "pkg/sqldb", "only sqldb opens databases"},
	{Module + "services/scheduler/internal/runtime/process", "services/scheduler", "the scheduler's own package chooses the runtime"},
	{Module + "services/scheduler/internal/runtime/kubernetes", "services/scheduler", "the scheduler's own package chooses the runtime"},
	{Module + "services/secretsbroker/internal/vault/hashicorp", "services/secretsbroker", "the broker's own package chooses the store"},
	{Module + "services/secretsbroker/internal/vault/embedded", "services/secretsbroker", "the broker's own package chooses the store"},
}

// servers are the places that may serve HTTP, and the names that do it.
var (
	servers = []string{"services/gateway", "pkg/service", "pkg/testkit", "services/telemetry/internal/ingest", "services/scheduler/internal/commandhost"}
	serving = []string{"Server", "ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS"}
)

// breaches lists what breaks a law, one sentence each.
func breaches(files []file) []string {
	events := eventNames(files)
	var found []string
	for _, f := range files {
		for _, sentence := range append(imports(f, events), serves(f)...) {
			found = append(found, f.path+": "+sentence)
		}
	}
	return found
}

func imports(f file, events map[string][]string) []string {
	var found []string
	for _, to := range f.imports {
		why := foreign(f, to)
		if own, ok := strings.CutPrefix(to, Module); ok && why == "" {
			why = between(f, own, events)
		}
		if why != "" {
			found = append(found, fmt.Sprintf("imports %s, but %s", strings.TrimPrefix(to, Module), why))
		}
	}
	return found
}

func serves(f file) []string {
	if f.test || within(f.dir, servers...) {
		return nil
	}
	var found []string
	for _, name := range f.used["net/http"] {
		if slices.Contains(serving, name) {
			found = append(found, fmt.Sprintf("uses http.%s, but only the gateway, the chassis, telemetry's ingest and the host of commands serve HTTP", name))
		}
	}
	return found
}

// foreign says why a file may not import a package that has one place.
func foreign(f file, to string) string {
	for _, rule := range only {
		named := strings.HasSuffix(rule.what, "/") && strings.HasPrefix(to, rule.what) || to == rule.what || strings.HasPrefix(to, rule.what+"/")
		if !named || within(f.dir, rule.where) && allowedDriver(f, rule.what, rule.where) {
			continue
		}
		if f.test && within(f.dir, "services/e2e") {
			continue
		}
		return rule.why
	}
	return ""
}

// allowedDriver lets a room's driver be imported by the room's exported package, by
// itself and by tests, not by the room's other packages.
func allowedDriver(f file, what, where string) bool {
	driver, ok := strings.CutPrefix(what, Module)
	return !ok || f.test || f.dir == where || within(f.dir, driver)
}

// between says why a file may not import a package of this tree.
func between(f file, to string, events map[string][]string) string {
	part, rest, _ := strings.Cut(f.dir, "/")
	switch part {
	case "proto":
		if !within(to, "proto") {
			return "contracts know nothing but contracts"
		}
	case "pkg":
		if within(to, "services") {
			return "the chassis knows no service"
		}
		if within(to, "proto") && to != "proto/agentcloud/bus/v1" && !f.test {
			return "of the contracts the chassis knows the bus alone"
		}
	case "services":
		name, _, _ := strings.Cut(rest, "/")
		return service(f, name, to, events)
	}
	return ""
}

func service(f file, name, to string, events map[string][]string) string {
	below, isRoom := rooms[name]
	if within(to, "services") && !within(to, "services/"+name) {
		switch {
		case isRoom && f.test && !strings.Contains(strings.TrimPrefix(to, "services/"), "/"):
			return "" // a test may start its neighbours, whole
		case isRoom:
			return "a room knows no other room's code"
		case name == "cli":
			return "the command line is a client like any other"
		}
	}
	room := contractOf(to)
	if !isRoom || room == "" || room == name || slices.Contains(below, room) || f.test {
		return ""
	}
	for _, used := range f.used[Module+to] {
		if !slices.Contains(events[to], used) {
			return fmt.Sprintf("%s is not below %s: it may use the events of that contract, not %s", room, name, used)
		}
	}
	return ""
}

// contractOf is the room that a contract belongs to; empty for those that belong to all.
func contractOf(to string) string {
	rest, ok := strings.CutPrefix(to, "proto/agentcloud/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	if room := contracts[name]; room != "" {
		return room
	}
	if _, ok := rooms[name]; ok {
		return name
	}
	return ""
}

// eventNames are what each contract declares in its events file.
func eventNames(files []file) map[string][]string {
	events := map[string][]string{}
	for _, f := range files {
		if strings.HasSuffix(f.path, "/events.pb.go") {
			events[f.dir] = append(events[f.dir], f.declared...)
		}
	}
	return events
}

func within(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") })
}

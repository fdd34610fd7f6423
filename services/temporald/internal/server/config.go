// Package server configures and runs a Temporal server on one SQLite file.
package server

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
)

// Config says where the server keeps its state and where it answers.
type Config struct {
	// Database is the SQLite file.
	Database string
	// GRPC is the frontend's address, with a real port.
	GRPC string
	// UI is the Web UI's address, with a real port; empty: no UI.
	UI string
	// ReadyFile gets the addresses once the frontend serves; empty: no file.
	ReadyFile string
	// LogLevel of the server's own log.
	LogLevel string
	// Namespaces to have from the start.
	Namespaces []string
}

const clusterName = "active"

// Shards of history cannot be changed in the life of a database. One writer needs few.
const historyShards = 1

// dynamic are the switches and bounds that differ from the server's defaults.
var dynamic = map[string]any{
	// Features that the platform builds on and that are off by default.
	"frontend.WorkflowPauseEnabled":     true,
	"frontend.workflowRulesAPIsEnabled": true,
	"matching.enableFairness":           true,
	"system.enableDeploymentVersions":   true,
	// With one partition, priority and rate limits hold exactly; throughput is about equal.
	"matching.numTaskqueueReadPartitions":  1,
	"matching.numTaskqueueWritePartitions": 1,
	// What was just made is visible at once. Search attributes are a namespace's own here, so
	// the cluster's need not be read again for each start.
	"system.forceNexusEndpointRefreshOnRead": true,
	"system.namespaceCacheRefreshInterval":   time.Second,
	// All runs share the one shard, whose queues are read 20 times a second at most by
	// default: each move of a run would wait for its turn.
	"history.transferProcessorMaxPollRPS": 1000,
	"history.timerProcessorMaxPollRPS":    1000,
	// They share one connection, too. What lists are made of may come a little later; by
	// default up to 512 such writes stand before a run's next move.
	"history.visibilityProcessorSchedulerWorkerCount": 2,
	// Queues of one shard gain nothing by being cut up by namespace, and with thousands of
	// runs at once the cutting takes a quarter of the server's processor time.
	"history.queueMoveGroupTaskCountBase":        1 << 30,
	"history.queueShrinkPredicateMaxPendingKeys": 0,
	// A worker decides how many runs it begins by how many polls for them it makes; those
	// for runs that go on are not to bring others.
	"matching.priorityBacklogForwarding": false,
	// What runs are is kept in memory for an hour after their last move, 12 kB each; by default
	// that of 128,000.
	"history.hostLevelCacheMaxSize": 2000,
	// Search attributes have one value each, as the server has it for its own SQLite.
	"system.visibilityAllowList": false,
	// One tenant on a laptop is not to be throttled when it looks at its own runs.
	"frontend.namespaceRPS.visibility": 1000,
}

func dynamicConfig() dynamicconfig.StaticClient {
	client := dynamicconfig.StaticClient{}
	for name, value := range dynamic {
		client[dynamicconfig.MakeKey(name)] = value
	}
	return client
}

// database is the store's configuration. Pragmas are given without an underscore:
// with one, the plugin passes them as unknown parameters and SQLite silently runs
// without its write-ahead log.
func database(file, plugin string) *config.SQL {
	return &config.SQL{
		PluginName:   plugin,
		DatabaseName: file,
		MaxConns:     1, // more only collide
		ConnectAttributes: map[string]string{
			"mode": "rwc", "journal_mode": "wal", "synchronous": "normal", "busy_timeout": "10000",
			"wal_autocheckpoint": "10000", // pages; checkpoints come before
		},
	}
}

func serverConfig(cfg Config) (*config.Config, error) {
	host, port, err := split(cfg.GRPC)
	if err != nil {
		return nil, err
	}
	services, err := services(host, port)
	if err != nil {
		return nil, err
	}
	return &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host}},
		Persistence: config.Persistence{
			DefaultStore: sqliteplugin.PluginName, VisibilityStore: visibilityPlugin, NumHistoryShards: historyShards,
			DataStores: map[string]config.DataStore{
				sqliteplugin.PluginName: {SQL: database(cfg.Database, sqliteplugin.PluginName)},
				visibilityPlugin:        {SQL: database(cfg.Database, visibilityPlugin)},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: cfg.GRPC},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		PublicClient: config.PublicClient{HostPort: cfg.GRPC},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}, nil
}

// services gives the frontend its address and every other listener a free port of
// the same host; the server cannot pick ports by itself.
func services(host string, frontend int) (map[string]config.Service, error) {
	all := map[string]config.Service{}
	for _, name := range []string{"frontend", "history", "matching", "worker"} {
		ports, err := freePorts(host, 2)
		if err != nil {
			return nil, err
		}
		if name == "frontend" {
			ports[0] = frontend
		}
		all[name] = config.Service{RPC: config.RPC{GRPCPort: ports[0], MembershipPort: ports[1], BindOnIP: host}}
	}
	return all, nil
}

func split(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: write host:port", address)
	}
	port, err := strconv.Atoi(text)
	if err != nil || net.ParseIP(host) == nil {
		return "", 0, fmt.Errorf("address %q: write an IP address and a number, for example 127.0.0.1:7233", address)
	}
	return host, port, nil
}

// withPort gives an address a free port when it asks for one with 0.
func withPort(address string) (string, error) {
	host, port, err := split(address)
	if err != nil || port != 0 {
		return address, err
	}
	ports, err := freePorts(host, 1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(ports[0])), nil
}

// freePorts holds all listeners open until it has enough, so that no port comes twice.
func freePorts(host string, n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		lis, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer lis.Close() //nolint:errcheck // only held
		ports = append(ports, lis.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

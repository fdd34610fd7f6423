package server

import (
	"fmt"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/resolver"
)

// visibilityPlugin names the store that runs are listed from: the server's own on SQLite,
// but for the statements of lists. Clients see the name in the cluster's information.
const visibilityPlugin = "agentcloud-sqlite"

func init() { //nolint:gochecknoinits // as the server's own plugins register
	sql.RegisterPlugin(visibilityPlugin, visibilityStore{})
}

type visibilityStore struct{}

// CreateDB opens the server's own store, which shares its one connection to a file.
func (visibilityStore) CreateDB(kind sqlplugin.DbKind, cfg *config.SQL, r resolver.ServiceResolver, l log.Logger, m metrics.Handler) (sqlplugin.GenericDB, error) {
	own := *cfg
	own.PluginName = sqliteplugin.PluginName
	db, err := sql.NewSQLDB(kind, &own, r, l, m)
	if err != nil {
		return nil, err
	}
	whole, ok := db.(wholeDB)
	if !ok {
		return nil, fmt.Errorf("the store of plugin %s has no administration", own.PluginName)
	}
	return visibilityDB{whole}, nil
}

func (visibilityStore) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	own, err := sql.GetPluginVisibilityQueryConverter(sqliteplugin.PluginName)
	if err != nil {
		panic(err) // it is compiled in
	}
	return seeking{own}
}

// visibilityDB answers to the plugin's name, by which the server finds its converter.
type visibilityDB struct{ wholeDB }

type wholeDB interface {
	sqlplugin.DB
	sqlplugin.AdminDB // by which the server checks the schema's version
}

func (visibilityDB) PluginName() string { return visibilityPlugin }

package server

import (
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"
)

// BenchmarkRunIsWritten writes the row of a run as the server does: when it starts, gets its
// version, and ends.
func BenchmarkRunIsWritten(b *testing.B) {
	file := filepath.Join(b.TempDir(), "temporal.db")
	if err := makeSchema(b.Context(), file); err != nil {
		b.Fatal(err)
	}
	made, err := visibilityStore{}.CreateDB(sqlplugin.DbKindVisibility, database(file, visibilityPlugin), resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = made.Close() })
	db, ok := made.(sqlplugin.DB)
	if !ok {
		b.Fatalf("the store is a %T", made)
	}
	app, user, namespace := "app_"+rand.Text(), "usr_"+rand.Text(), rand.Text()
	started := sqlplugin.VisibilitySearchAttributes{"Keyword01": app, "Keyword02": user}
	versioned := sqlplugin.VisibilitySearchAttributes{
		"Keyword01": app, "Keyword02": user, "TemporalWorkerDeployment": app, "TemporalWorkerDeploymentVersion": app + ":1",
		"TemporalWorkflowVersioningBehavior": "Pinned", "BuildIds": []string{"pinned:" + app + ":1"},
	}
	for b.Loop() {
		now := time.Now().UTC()
		row := sqlplugin.VisibilityRow{
			NamespaceID: namespace, RunID: rand.Text(), WorkflowTypeName: "Greet", WorkflowID: "Greet-" + rand.Text(),
			StartTime: now, ExecutionTime: now, Status: 1, Memo: make([]byte, 150), Encoding: "Proto3", TaskQueue: app, SearchAttributes: &started,
		}
		row.RootRunID, row.RootWorkflowID = row.RunID, row.WorkflowID
		if _, err := db.InsertIntoVisibility(b.Context(), &row); err != nil {
			b.Fatal(err)
		}
		row.Version, row.SearchAttributes = 1, &versioned
		if _, err := db.ReplaceIntoVisibility(b.Context(), &row); err != nil {
			b.Fatal(err)
		}
		length := int64(10)
		row.Version, row.Status, row.CloseTime = 2, 2, &now
		row.HistoryLength, row.HistorySizeBytes, row.ExecutionDuration, row.StateTransitionCount = &length, &length, &length, &length
		if _, err := db.ReplaceIntoVisibility(b.Context(), &row); err != nil {
			b.Fatal(err)
		}
	}
}

// Barestart starts workflow runs by Temporal's SDK and nothing else, and prints what a
// start cost: what the cloud's own starts are measured against.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

func main() {
	address := flag.String("address", "", "host:port of Temporal")
	namespace := flag.String("namespace", "", "namespace")
	queue := flag.String("queue", "", "task queue")
	workflow := flag.String("workflow", "", "workflow type; its one argument is a text")
	callers := flag.Int("callers", 1, "how many start runs at once")
	length := flag.Duration("for", time.Second, "how long")
	flag.Parse()
	c, err := client.Dial(client.Options{HostPort: *address, Namespace: *namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err == nil {
		defer c.Close()
		err = measure(c, *queue, *workflow, *callers, *length)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the connection ends with the process
	}
}

// measure prints the times of all starts, in order, in nanoseconds.
func measure(c client.Client, queue, workflow string, callers int, length time.Duration) error {
	var mu sync.Mutex
	var group sync.WaitGroup
	var took []time.Duration
	var failed error
	for end := time.Now().Add(length); callers > 0; callers-- {
		group.Go(func() {
			for time.Now().Before(end) {
				began := time.Now()
				_, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: uuid.NewString(), TaskQueue: queue}, workflow, "bare")
				mu.Lock()
				took = append(took, time.Since(began))
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	if failed != nil {
		return failed
	}
	return json.NewEncoder(os.Stdout).Encode(took)
}

package payloads

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"gocloud.dev/gcerrors"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	collectEvery = time.Minute
	// collectAge is how long a value is not asked about after it was last needed; a run
	// that is just being started is not at Temporal yet.
	collectAge  = time.Hour
	collectMost = 200
)

// Collector deletes the values whose runs Temporal has forgotten.
type Collector struct {
	Claims *Claims
	// Client gives the Temporal client of an organisation.
	Client func(ctx context.Context, orgID string) (client.Client, error)
	Log    *slog.Logger
}

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := c.Collect(ctx, collectAge); err != nil && ctx.Err() == nil {
				c.Log.WarnContext(ctx, "large values were not all collected", "error", err)
			}
		}
	}
}

// Collect looks at values that nobody has looked at for age, a bounded number, and
// deletes those of runs that are not there any more.
func (c *Collector) Collect(ctx context.Context, age time.Duration) error {
	now := c.Claims.now()
	old, err := c.Claims.rows.ClaimsToCheck(ctx, now.Add(-age), collectMost)
	if err != nil {
		return err
	}
	needed := map[[2]string]bool{}
	for _, one := range old {
		run := [2]string{one.OrgID, one.WorkflowID}
		if _, known := needed[run]; !known {
			if needed[run], err = c.there(ctx, one); err != nil {
				return err
			}
		}
		if needed[run] {
			err = c.Claims.rows.KeepClaim(ctx, one, now)
		} else {
			err = c.Claims.delete(ctx, one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// there asks Temporal, which knows runs until their retention is over.
func (c *Collector) there(ctx context.Context, one store.Claim) (bool, error) {
	at, err := c.Client(ctx, one.OrgID)
	if err != nil {
		return true, err
	}
	_, err = at.DescribeWorkflowExecution(ctx, one.WorkflowID, "")
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return false, nil
	}
	return true, err
}

// delete removes the value in the transaction that removes the row, so that one that
// is just put away again waits and is written afterwards.
func (c *Claims) delete(ctx context.Context, one store.Claim) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	return c.rows.DeleteClaim(ctx, one, func() error {
		err := c.bucket.Delete(ctx, one.OrgID+"/"+folder(one.WorkflowID)+"/"+one.Digest)
		if gcerrors.Code(err) == gcerrors.NotFound {
			return nil
		}
		return err
	})
}

package secrets

import (
	"context"
	"time"
)

const (
	sweepEvery = time.Minute
	// unfinishedFor must be longer than any call can take.
	unfinishedFor = 10 * time.Minute
	sweepBatch    = 100
)

// Run finishes what a crash left half-done, until ctx ends: a secret whose handle
// was never given out, or whose deletion was begun, is forgotten.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "unfinished secrets stay for now", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep does one round.
func (s *Service) Sweep(ctx context.Context) error {
	records, err := s.deps.Store.Unfinished(ctx, s.deps.Now().Add(-unfinishedFor), sweepBatch)
	if err != nil {
		return err
	}
	for _, record := range records {
		if err := s.forget(ctx, record); err != nil {
			return err
		}
	}
	return nil
}

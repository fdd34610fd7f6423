package store

import "context"

// selectNeeded finds what must stay: whatever may have processes, and each target's
// newest versions that ever served.
const selectNeeded = selectVersion + ` WHERE state IN (?, ?, ?, ?) OR state = ? AND (
	SELECT COUNT(*) FROM versions newer
	WHERE newer.target_id = versions.target_id AND newer.number > versions.number AND newer.state <> ?) < ?`

// Needed lists the bundles and artifacts that versions need, with keep versions of each
// target to return to.
func (s *Store) Needed(ctx context.Context, keep int) (bundles, artifacts []string, err error) {
	rows, err := s.db.Query(ctx, selectNeeded, Pending, Ready, Live, Draining, Gone, Failed, keep)
	versions, err := collect(rows, err, "needed versions", scanVersion)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range versions {
		bundles = append(bundles, v.BundleID)
		if id := v.Artifact.GetArtifactId(); id != "" {
			artifacts = append(artifacts, id)
		}
	}
	return bundles, artifacts, nil
}

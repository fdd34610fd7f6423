package payloads

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// ClaimEncoding is the "encoding" of a payload whose content is in the blob store; its
// data is a claim as JSON.
const ClaimEncoding = "agentcloud/claim"

// storeLimit bounds one read or write of a value.
const storeLimit = 30 * time.Second

// claim says where a payload is.
type claim struct {
	// Key is the place below the organisation's: of the workflow, and of the content.
	Key string `json:"key"`
	// SHA256 is the digest of the payload, hexadecimal.
	SHA256 string `json:"sha256"`
	// Size of the value, bytes.
	Size int `json:"size"`
	// Wrapped says that the value is to be shown in the envelope of a tool's result.
	Wrapped bool `json:"wrapped,omitempty"`
}

// Claims is the codec that keeps large payloads out of histories.
type Claims struct {
	bucket *blob.Bucket
	rows   *store.Store
	// inline is the size above which a value is put away, bytes.
	inline int
	now    func() time.Time
}

// NewClaims returns Claims that keep values above inline bytes in bucket.
func NewClaims(bucket *blob.Bucket, rows *store.Store, inline int, now func() time.Time) *Claims {
	return &Claims{bucket: bucket, rows: rows, inline: inline, now: now}
}

// Encode puts a large payload away. One that looks like a claim already is no claim of
// ours, and put away like any other.
func (c *Claims) Encode(ctx context.Context, scope Scope, p *commonpb.Payload) (*commonpb.Payload, error) {
	size := len(p.GetData())
	switch {
	case size > Most:
		return nil, fault.TooLarge.Errorf("a value has %d bytes; at most %d MiB are taken", size, Most>>20)
	case size <= c.inline && !IsClaim(p):
		return p, nil
	}
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("marshal payload: %w", err)
	}
	sum := sha256.Sum256(content)
	made := claim{SHA256: hex.EncodeToString(sum[:]), Size: size}
	made.Key = folder(scope.WorkflowID) + "/" + made.SHA256
	if err := c.put(ctx, scope, made, content); err != nil {
		return nil, fault.Unavailable.Wrap(err, "the store of large values does not answer; try again in a moment")
	}
	return made.payload()
}

// put writes the row first: what is in the store without one would never be deleted.
func (c *Claims) put(ctx context.Context, scope Scope, made claim, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err := c.rows.PutClaim(ctx, store.Claim{OrgID: scope.OrgID, WorkflowID: scope.WorkflowID, Digest: made.SHA256, Size: int64(made.Size)}, c.now())
	if err != nil {
		return err
	}
	name := scope.OrgID + "/" + made.Key
	if there, err := c.bucket.Exists(ctx, name); err != nil || there {
		return err
	}
	return c.bucket.WriteAll(ctx, name, content, &blob.WriterOptions{ContentType: "application/protobuf", DisableContentTypeDetection: true})
}

func (c claim) payload() (*commonpb.Payload, error) {
	data, err := json.Marshal(c)
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte(ClaimEncoding)}, Data: data}, err
}

// folder is where the values of one workflow id are.
func folder(workflowID string) string {
	sum := sha256.Sum256([]byte(workflowID))
	return hex.EncodeToString(sum[:16])
}

// IsClaim says whether a payload's content is elsewhere.
func IsClaim(p *commonpb.Payload) bool {
	return string(p.GetMetadata()[converter.MetadataEncoding]) == ClaimEncoding
}

// key keeps a claim inside of its organisation.
var key = regexp.MustCompile(`^[0-9a-f]{32}/[0-9a-f]{64}$`)

// Decode fetches what a claim stands for and checks that it is what was put away.
func (c *Claims) Decode(ctx context.Context, orgID string, p *commonpb.Payload) (*commonpb.Payload, error) {
	if !IsClaim(p) {
		return p, nil
	}
	var held claim
	if err := json.Unmarshal(p.GetData(), &held); err != nil || !key.MatchString(held.Key) {
		return nil, lost(err, held)
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	content, err := c.bucket.ReadAll(ctx, orgID+"/"+held.Key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, lost(err, held)
	}
	if err != nil {
		return nil, fault.Unavailable.Wrap(err, "the store of large values does not answer; try again in a moment")
	}
	decoded := &commonpb.Payload{}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != held.SHA256 || proto.Unmarshal(content, decoded) != nil {
		return nil, lost(fmt.Errorf("the content has another digest"), held)
	}
	if held.Wrapped {
		return envelope(decoded)
	}
	return decoded, nil
}

func lost(err error, held claim) error {
	return fault.NotFound.Wrap(err, "a value of %s bytes was kept outside of the run's history and is not there any more (%s)", strconv.Itoa(held.Size), LostReason)
}

// LostReason is what tells clients apart that a value is lost.
const LostReason = "result_lost"

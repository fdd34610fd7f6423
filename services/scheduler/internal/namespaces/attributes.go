package namespaces

import (
	"context"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// attributes are the search attributes of every namespace.
var attributes = map[string]enumspb.IndexedValueType{
	flow.TargetAttribute:  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	flow.VersionAttribute: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	flow.CallerAttribute:  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	flow.LabelsAttribute:  enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}

// ownVisibility is how our own Temporal server, services/temporald, names the store that
// it lists runs from.
const ownVisibility = "agentcloud-sqlite"

// columns are where that store has the attributes. Its indexes know the app's and the
// caller's; other servers choose by themselves.
var columns = map[string]string{
	"Keyword01": flow.TargetAttribute, "Keyword02": flow.CallerAttribute, "Keyword03": flow.VersionAttribute, "KeywordList01": flow.LabelsAttribute,
}

func (d *Directory) ensureAttributes(ctx context.Context, namespace string) error {
	have, err := d.base.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	var all []string
	for name, kind := range attributes {
		if _, ok := have.GetCustomAttributes()[name]; !ok {
			missing[name] = kind
		}
		all = append(all, name+" = 'none'")
	}
	if len(missing) > 0 {
		if err := d.addAttributes(ctx, namespace, missing); err != nil {
			return fmt.Errorf("add search attributes: %w", err)
		}
	}
	// A query over all of them is refused until every cache has seen them.
	_, err = d.base.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: namespace, Query: strings.Join(all, " AND "),
	})
	return err
}

// addAttributes gives a new namespace of our own server its columns, and leaves to Temporal
// where they are in every other case.
func (d *Directory) addAttributes(ctx context.Context, namespace string, missing map[string]enumspb.IndexedValueType) error {
	cluster, err := d.base.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	if err != nil {
		return err
	}
	if cluster.GetVisibilityStore() == ownVisibility && len(missing) == len(attributes) {
		_, err = d.base.WorkflowService().UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
			Namespace: namespace, Config: &namespacepb.NamespaceConfig{CustomSearchAttributeAliases: columns},
		})
		return err
	}
	_, err = d.base.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	return err
}

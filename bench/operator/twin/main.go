// A controller-runtime operator that makes the objects that Berth makes, and decides nothing.
//
// What a Go operator of the usual kind costs on the same control plane: informers with label
// filters, eight workers, server-side apply of each child that is missing or differs, then the status.
// The objects come from a file, so that they are Berth's own to the byte.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	applied = "berth.dev/applied" // the annotation that tells what was applied last
	label   = "berth.dev/model"
)

// recorded is what Berth applies for one model whose name and uid are the placeholders.
type recorded struct {
	Name     string            `json:"name"`
	UID      string            `json:"uid"`
	Children []json.RawMessage `json:"children"`
	Waiting  json.RawMessage   `json:"waiting"` // status while no replica serves
	Serving  json.RawMessage   `json:"serving"`
}

type reconciler struct {
	client.Client
	told recorded
}

func model() *unstructured.Unstructured {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Group: "berth.dev", Version: "v1alpha1", Kind: "ModelDeployment"})
	return found
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	owner := model()
	if err := r.Get(ctx, request.NamespacedName, owner); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	serving := false
	for _, raw := range r.told.Children {
		wanted, err := r.filled(raw, owner)
		if err != nil {
			return ctrl.Result{}, err
		}
		live, err := r.applied(ctx, wanted)
		if err != nil {
			return ctrl.Result{}, err
		}
		if live != nil && live.GetKind() == "Deployment" {
			ready, _, _ := unstructured.NestedInt64(live.Object, "status", "readyReplicas")
			serving = ready > 0
		}
	}
	return ctrl.Result{}, r.tell(ctx, owner, serving)
}

// applied is the live object as the cache has it, after it was applied if it had to be.
func (r *reconciler) applied(ctx context.Context, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(wanted.GroupVersionKind())
	if wanted.GetKind() != "Secret" { // which an operator does not read
		err := r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
		if err == nil && live.GetAnnotations()[applied] == wanted.GetAnnotations()[applied] {
			return live, nil
		}
		if err != nil && !errors.IsNotFound(err) {
			return nil, err
		}
	} else if r.hasService(ctx, wanted) {
		return nil, nil
	}
	return nil, r.Patch(ctx, wanted, client.Apply, client.FieldOwner("twin"), client.ForceOwnership)
}

// hasService tells, as for Berth, that the Secret was written: it comes before the Service.
func (r *reconciler) hasService(ctx context.Context, secret *unstructured.Unstructured) bool {
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Service"})
	named := labels.SelectorFromSet(labels.Set{label: secret.GetLabels()[label]})
	err := r.List(ctx, found, client.InNamespace(secret.GetNamespace()), client.MatchingLabelsSelector{Selector: named})
	return err == nil && len(found.Items) > 0
}

func (r *reconciler) tell(ctx context.Context, owner *unstructured.Unstructured, serving bool) error {
	raw := r.told.Waiting
	if serving {
		raw = r.told.Serving
	}
	status := map[string]any{}
	if err := json.Unmarshal([]byte(r.replaced(string(raw), owner)), &status); err != nil {
		return err
	}
	phase, _, _ := unstructured.NestedString(owner.Object, "status", "phase")
	if phase == status["phase"] {
		return nil
	}
	told := model()
	told.SetName(owner.GetName())
	told.SetNamespace(owner.GetNamespace())
	told.Object["status"] = status
	return r.Status().Patch(ctx, told, client.Apply, client.FieldOwner("twin-status"), client.ForceOwnership)
}

func (r *reconciler) filled(raw json.RawMessage, owner *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	wanted := &unstructured.Unstructured{}
	err := json.Unmarshal([]byte(r.replaced(string(raw), owner)), &wanted.Object)
	return wanted, err
}

func (r *reconciler) replaced(text string, owner *unstructured.Unstructured) string {
	text = strings.ReplaceAll(text, r.told.Name, owner.GetName())
	return strings.ReplaceAll(text, r.told.UID, string(owner.GetUID()))
}

func main() {
	file := flag.String("recorded", "", "what Berth applies, as JSON")
	flag.Parse()
	ctrl.SetLogger(klog.Background())
	told := recorded{}
	text, err := os.ReadFile(*file)
	if err == nil {
		err = json.Unmarshal(text, &told)
	}
	if err == nil {
		err = run(told)
	}
	if err != nil {
		klog.Fatal(err)
	}
}

func run(told recorded) error {
	ours, err := labels.Parse(label)
	if err != nil {
		return err
	}
	owned := []*unstructured.Unstructured{
		kind("apps", "v1", "Deployment"), kind("apps", "v1", "ControllerRevision"),
		kind("", "v1", "Service"), kind("policy", "v1", "PodDisruptionBudget"),
	}
	filtered := map[client.Object]cache.ByObject{}
	for _, one := range owned {
		filtered[one] = cache.ByObject{Label: ours}
	}
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Cache:   cache.Options{ByObject: filtered},
		Client:  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	builder := ctrl.NewControllerManagedBy(manager).For(model()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8})
	for _, one := range owned {
		builder = builder.Owns(one)
	}
	if err := builder.Complete(&reconciler{Client: manager.GetClient(), told: told}); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func kind(group, version, name string) *unstructured.Unstructured {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: name})
	return found
}

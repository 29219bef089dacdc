// A controller in miniature: typed client-go, which sends protobuf, and informers, which list and watch.
//
//	typed http://127.0.0.1:8053
//
// Creates, updates and deletes objects of each kind in a namespace of its own, and waits until its informers have
// seen it all.  Exit code 0 and "done" as its last line, or 1 and what went wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const namespace = "go"

var ctx = context.Background()

func main() {
	client := must(kubernetes.NewForConfig(&rest.Config{Host: os.Args[1]}))
	space := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace}}
	must(client.CoreV1().Namespaces().Create(ctx, space, meta.CreateOptions{}))
	seen := watch(client)
	wanted := append(services(client), pods(client)...)
	wanted = append(wanted, slices(client)...)
	wanted = append(wanted, events(client)...)
	reviews(client)
	await(seen, wanted)
	must(0, client.CoreV1().Namespaces().Delete(ctx, namespace, meta.DeleteOptions{}))
	fmt.Println("done")
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

func check(ok bool, text string, values ...any) {
	if !ok {
		fmt.Printf("FAILED: "+text+"\n", values...)
		os.Exit(1)
	}
}

// watch returns what the informers see, as "add service web".
func watch(client kubernetes.Interface) <-chan string {
	seen := make(chan string, 1000)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	for what, informer := range map[string]cache.SharedIndexInformer{
		"service": factory.Core().V1().Services().Informer(),
		"pod":     factory.Core().V1().Pods().Informer(),
		"slice":   factory.Discovery().V1().EndpointSlices().Informer(),
		"event":   factory.Core().V1().Events().Informer(),
		// Of these it is enough that they sync, and that the namespace is seen.
		"namespace": factory.Core().V1().Namespaces().Informer(),
		"endpoints": factory.Core().V1().Endpoints().Informer(),
	} {
		tell := func(verb string, object any) { seen <- verb + " " + what + " " + object.(meta.Object).GetName() }
		must(informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { tell("add", object) },
			UpdateFunc: func(_, object any) { tell("update", object) },
			DeleteFunc: func(object any) { tell("delete", object) },
		}))
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		check(synced, "%v did not sync", kind)
	}
	return seen
}

func await(seen <-chan string, wanted []string) {
	left := map[string]bool{}
	for _, event := range wanted {
		left[event] = true
	}
	for len(left) > 0 {
		select {
		case event := <-seen:
			fmt.Println(event)
			delete(left, event)
		case <-time.After(30 * time.Second):
			check(false, "not seen: %v", left)
		}
	}
}

func services(client kubernetes.Interface) []string {
	api := client.CoreV1().Services(namespace)
	made := must(api.Create(ctx, &core.Service{
		ObjectMeta: meta.ObjectMeta{Name: "web", Labels: map[string]string{"app": "web"}},
		Spec: core.ServiceSpec{
			Selector:  map[string]string{"app": "web"},
			ClusterIP: "None",
			Ports: []core.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				{Name: "alt", Port: 81, TargetPort: intstr.FromInt32(8081)},
				{Name: "same", Port: 82},
			},
		},
	}, meta.CreateOptions{FieldValidation: "Strict"}))
	ports := made.Spec.Ports
	check(ports[0].TargetPort.StrVal == "http" && ports[1].TargetPort.IntVal == 8081, "ports %v", ports)
	check(ports[2].TargetPort.IntVal == 82, "no default: %v", ports)
	stale := made.DeepCopy()
	made.Spec.PublishNotReadyAddresses = true
	made = must(api.Update(ctx, made, meta.UpdateOptions{}))
	check(made.Spec.PublishNotReadyAddresses, "not updated")
	_, err := api.Update(ctx, stale, meta.UpdateOptions{})
	check(err != nil, "a stale update was taken")
	must(0, api.Delete(ctx, "web", meta.DeleteOptions{}))
	return []string{"add service web", "update service web", "delete service web"}
}

func pods(client kubernetes.Interface) []string {
	api := client.CoreV1().Pods(namespace)
	made := must(api.Create(ctx, &core.Pod{
		ObjectMeta: meta.ObjectMeta{GenerateName: "web-", Labels: map[string]string{"app": "web"}},
		Spec:       core.PodSpec{Containers: []core.Container{{Name: "web", Image: "nginx"}}},
		Status:     core.PodStatus{Phase: core.PodRunning, PodIP: "192.0.2.7", PodIPs: []core.PodIP{{IP: "192.0.2.7"}}},
	}, meta.CreateOptions{}))
	made.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionFalse, LastTransitionTime: meta.Now()}}
	made = must(api.UpdateStatus(ctx, made, meta.UpdateOptions{}))
	check(made.Status.Conditions[0].Status == core.ConditionFalse, "status %v", made.Status)
	made.Labels["tier"] = "front"
	made = must(api.Update(ctx, made, meta.UpdateOptions{}))
	check(made.Status.PodIP == "192.0.2.7" && made.Labels["tier"] == "front", "pod %v", made)
	must(0, api.Delete(ctx, made.Name, *meta.NewDeleteOptions(0)))
	return []string{"add pod " + made.Name, "update pod " + made.Name, "delete pod " + made.Name}
}

func slices(client kubernetes.Interface) []string {
	api := client.DiscoveryV1().EndpointSlices(namespace)
	name, port, protocol, ready := "sql", int32(5432), core.ProtocolTCP, true
	made := must(api.Create(ctx, &discovery.EndpointSlice{
		ObjectMeta:  meta.ObjectMeta{Name: "db-1", Labels: map[string]string{discovery.LabelServiceName: "db"}},
		AddressType: discovery.AddressTypeIPv4,
		Endpoints: []discovery.Endpoint{
			{Addresses: []string{"192.0.2.9"}, Conditions: discovery.EndpointConditions{Ready: &ready}},
		},
		Ports: []discovery.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}, meta.CreateOptions{}))
	made.Endpoints = nil
	made = must(api.Update(ctx, made, meta.UpdateOptions{}))
	check(len(made.Endpoints) == 0, "endpoints %v", made.Endpoints)
	err := api.Delete(ctx, "db-1", meta.DeleteOptions{Preconditions: meta.NewUIDPreconditions("another")})
	check(err != nil, "deleted in spite of its precondition")
	must(0, api.Delete(ctx, "db-1", meta.DeleteOptions{Preconditions: meta.NewUIDPreconditions(string(made.UID))}))
	return []string{"add slice db-1", "update slice db-1", "delete slice db-1"}
}

func events(client kubernetes.Interface) []string {
	api := client.CoreV1().Events(namespace)
	made := must(api.Create(ctx, &core.Event{
		ObjectMeta:     meta.ObjectMeta{Name: "web.1"},
		InvolvedObject: core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: "web"},
		Reason:         "Tried", Message: "this is a test", Type: core.EventTypeNormal,
		Source: core.EventSource{Component: "typed"}, FirstTimestamp: meta.Now(), LastTimestamp: meta.Now(), Count: 1,
	}, meta.CreateOptions{}))
	made.Count = 2
	made = must(api.Update(ctx, made, meta.UpdateOptions{}))
	found := must(api.List(ctx, meta.ListOptions{FieldSelector: "involvedObject.name=web"}))
	check(made.Count == 2 && len(found.Items) == 1, "events %v", found.Items)
	must(0, api.Delete(ctx, "web.1", meta.DeleteOptions{}))
	return []string{"add event web.1", "update event web.1", "delete event web.1", "add namespace " + namespace}
}

func reviews(client kubernetes.Interface) {
	asked := &authz.ResourceAttributes{Verb: "create", Resource: "pods", Namespace: namespace}
	self := must(client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authz.SelfSubjectAccessReview{
		Spec: authz.SelfSubjectAccessReviewSpec{ResourceAttributes: asked},
	}, meta.CreateOptions{}))
	other := must(client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authz.SubjectAccessReview{
		Spec: authz.SubjectAccessReviewSpec{
			User: "somebody", Extra: map[string]authz.ExtraValue{"team": {"a", "b"}}, ResourceAttributes: asked,
		},
	}, meta.CreateOptions{}))
	check(self.Status.Allowed && other.Status.Allowed, "not allowed")
	check(len(other.Spec.Extra["team"]) == 2, "extra %v", other.Spec.Extra)
	rules := must(client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authz.SelfSubjectRulesReview{
		Spec: authz.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, meta.CreateOptions{}))
	check(len(rules.Status.ResourceRules) > 0 && len(rules.Status.NonResourceRules) > 0, "no rules")
	me := must(client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authn.SelfSubjectReview{}, meta.CreateOptions{}))
	check(me.Status.UserInfo.Username == "system:anonymous", "user %v", me.Status.UserInfo)
}

// Two candidates of client-go's leader election against one server, in three acts: the first leads, steps down
// and gives the Lease back; the second leads and falls silent; the first takes over when the Lease has run out.
// What happens is also recorded by client-go's newer event recorder, which writes to events.k8s.io/v1.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	recording "k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	namespace = "kube-system"
	name      = "shop-controller"
	lease     = 3 * time.Second
	hangs     = 2 * time.Minute
)

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func wait[T any](what string, from <-chan T) T {
	select {
	case value := <-from:
		fmt.Println(what)
		return value
	case <-time.After(hangs):
		fmt.Println("still waiting:", what)
		os.Exit(1)
		panic("unreachable")
	}
}

type candidate struct {
	leads chan struct{}
	over  chan struct{}
	stop  context.CancelFunc
}

// run lets a candidate run until it is stopped; with release it gives the Lease back then.
func run(client kubernetes.Interface, identity string, release bool) candidate {
	ctx, stop := context.WithCancel(context.Background())
	self := candidate{make(chan struct{}, 1), make(chan struct{}), stop}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, name, client.CoreV1(),
		client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
	check(err)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: lease, RenewDeadline: 2 * lease / 3, RetryPeriod: lease / 6,
		ReleaseOnCancel: release,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { self.leads <- struct{}{} },
			OnStoppedLeading: func() {},
		},
	})
	check(err)
	go func() {
		elector.Run(ctx)
		close(self.over)
	}()
	return self
}

func holder(client kubernetes.Interface) (string, int32) {
	found, err := client.CoordinationV1().Leases(namespace).Get(context.Background(), name, meta.GetOptions{})
	check(err)
	return *found.Spec.HolderIdentity, *found.Spec.LeaseTransitions
}

func expect(client kubernetes.Interface, identity string) {
	if found, transitions := holder(client); found != identity {
		check(fmt.Errorf("the Lease is held by %q (%d transitions), not by %q", found, transitions, identity))
	}
}

func main() {
	config := &rest.Config{Host: os.Args[1], ContentConfig: rest.ContentConfig{
		ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
	}}
	client := kubernetes.NewForConfigOrDie(config)

	first := run(client, "first", true)
	wait("the first leads", first.leads)
	expect(client, "first")
	second := run(client, "second", false)
	select {
	case <-second.leads:
		check(fmt.Errorf("two lead"))
	case <-time.After(2 * lease):
	}
	expect(client, "first")

	began := time.Now()
	first.stop()
	wait("the first has stepped down", first.over)
	wait("the second leads", second.leads)
	if waited := time.Since(began); waited >= lease {
		check(fmt.Errorf("a Lease that was given back was waited for: %v", waited))
	}
	expect(client, "second")

	second.stop()
	wait("the second has fallen silent", second.over)
	expect(client, "second")
	third := run(client, "third", true)
	wait("the third leads", third.leads)
	expect(client, "third")
	third.stop()
	wait("the third has stepped down", third.over)
	expect(client, "")

	record(client)
	fmt.Println("done")
}

// record writes an event of the newer form three times and reads it from both APIs.
func record(client kubernetes.Interface) {
	broadcaster := recording.NewBroadcaster(&recording.EventSinkImpl{Interface: client.EventsV1()})
	stop := make(chan struct{})
	defer close(stop)
	check(broadcaster.StartRecordingToSinkWithContext(context.Background()))
	recorder := broadcaster.NewRecorder(scheme.Scheme, "shop-controller")
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "here", UID: "here"}}
	watch, err := client.EventsV1().Events("default").Watch(context.Background(), meta.ListOptions{})
	check(err)
	for range 3 {
		recorder.Eventf(node, nil, core.EventTypeNormal, "Starting", "StartController", "hello %s", "world")
	}
	deadline := time.After(hangs)
	for count := int32(0); count < 2; {
		select {
		case change := <-watch.ResultChan():
			event, ok := change.Object.(*events.Event)
			if ok && event.Series != nil {
				count = event.Series.Count
			}
		case <-deadline:
			check(fmt.Errorf("no series was seen"))
		}
	}
	older, err := client.CoreV1().Events("default").List(context.Background(), meta.ListOptions{
		FieldSelector: "involvedObject.kind=Node,reason=Starting",
	})
	check(err)
	if len(older.Items) != 1 || older.Items[0].Message != "hello world" || older.Items[0].Series == nil {
		check(fmt.Errorf("core/v1 shows %+v", older.Items))
	}
}

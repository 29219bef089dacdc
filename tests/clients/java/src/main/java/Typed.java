import io.fabric8.kubernetes.api.model.IntOrString;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.Pod;
import io.fabric8.kubernetes.api.model.PodBuilder;
import io.fabric8.kubernetes.api.model.PodConditionBuilder;
import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.api.model.ServiceBuilder;
import io.fabric8.kubernetes.client.ConfigBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.Watch;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import io.fabric8.kubernetes.client.dsl.base.PatchContext;
import io.fabric8.kubernetes.client.dsl.base.PatchType;
import io.fabric8.kubernetes.client.http.HttpClient;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.client.informers.SharedIndexInformer;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A controller in miniature with fabric8's client: {@code Typed URL CLASS}, CLASS being the factory of its HTTP client.
 *
 * <p>Creates, applies, patches and deletes objects in a namespace of its own and waits until a watch and two informers
 * have seen it all. Its last line is "done"; else what went wrong is on stderr.
 */
public class Typed {
  static final String NAMESPACE = "java";
  static final BlockingQueue<String> seen = new LinkedBlockingQueue<>();

  public static void main(String[] arguments) throws Exception {
    HttpClient.Factory factory =
        (HttpClient.Factory) Class.forName(arguments[1]).getDeclaredConstructor().newInstance();
    var config = new ConfigBuilder(io.fabric8.kubernetes.client.Config.empty())
        .withMasterUrl(arguments[0]).withNamespace(NAMESPACE).build();
    try (KubernetesClient client =
        new KubernetesClientBuilder().withConfig(config).withHttpClientFactory(factory).build()) {
      client.namespaces().resource(new NamespaceBuilder()
          .withNewMetadata().withName(NAMESPACE).endMetadata().build()).create();
      try (Watch watch = client.services().watch(new Said());
          SharedIndexInformer<Pod> pods = client.pods().inform(new Heard<>());
          SharedIndexInformer<Service> services = client.services().runnableInformer(0)) {
        System.out.println("watches by " + watch.getClass().getSimpleName());
        services.addEventHandler(new Heard<>());
        services.start().toCompletableFuture().get(30, TimeUnit.SECONDS);
        Set<String> wanted = new HashSet<>(services(client));
        wanted.addAll(pods(client));
        await(wanted);
      }
      check(client.services().list().getItems().isEmpty(), "services are left");
      client.namespaces().withName(NAMESPACE).delete();
      check(client.namespaces().withName(NAMESPACE)
          .waitUntilCondition(java.util.Objects::isNull, 30, TimeUnit.SECONDS) == null, "the namespace stays");
    }
    System.out.println("done");
    System.exit(0); // some HTTP clients leave threads behind
  }

  static Set<String> services(KubernetesClient client) {
    Service asked = new ServiceBuilder()
        .withNewMetadata().withName("web").addToLabels("app", "web").endMetadata()
        .withNewSpec().withClusterIP("None").addToSelector("app", "web")
        .addNewPort().withName("http").withPort(80).withTargetPort(new IntOrString("http")).endPort()
        .addNewPort().withName("same").withPort(82).endPort()
        .endSpec().build();
    Service made = client.services().resource(asked).create();
    check(made.getSpec().getPorts().get(1).getTargetPort().getIntVal() == 82, "no default: " + made);
    refused(409, () -> client.services().resource(asked).create());

    Service applied = client.services().resource(new ServiceBuilder()
        .withNewMetadata().withName("web").addToLabels("tier", "front").endMetadata()
        .withNewSpec().endSpec().build())
        .patch(new PatchContext.Builder().withPatchType(PatchType.SERVER_SIDE_APPLY)
            .withFieldManager("java").withForce(true).build());
    check(applied.getMetadata().getLabels().equals(Map.of("app", "web", "tier", "front")), "labels " + applied);

    Service edited = client.services().withName("web").edit(service -> new ServiceBuilder(service)
        .editSpec().withPublishNotReadyAddresses(true).endSpec().build());
    check(edited.getSpec().getPublishNotReadyAddresses(), "not edited: " + edited);
    refused(409, () -> client.services().resource(applied).update());
    Service patched = client.services().withName("web").patch(
        PatchContext.of(PatchType.JSON_MERGE), "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}");
    check(patched.getMetadata().getAnnotations().get("a").equals("b"), "not patched: " + patched);

    check(client.services().withLabel("app", "web").list().getItems().size() == 1, "not selected");
    check(client.services().withLabel("app", "db").list().getItems().isEmpty(), "selected");
    check(client.services().withName("nope").get() == null, "found what is not there");
    client.services().withName("web").delete();
    return Set.of("watch ADDED web", "watch MODIFIED web", "watch DELETED web",
        "add Service web", "update Service web", "delete Service web");
  }

  static Set<String> pods(KubernetesClient client) {
    Pod made = client.pods().resource(new PodBuilder()
        .withNewMetadata().withName("web-1").addToLabels("app", "web").endMetadata()
        .withNewSpec().addNewContainer().withName("web").withImage("nginx").endContainer().endSpec()
        .withNewStatus().withPhase("Running").withPodIP("192.0.2.7").endStatus().build()).create();
    check(made.getStatus().getPodIP().equals("192.0.2.7"), "status " + made);
    Pod unready = client.pods().withName("web-1").editStatus(pod -> new PodBuilder(pod).editStatus()
        .withConditions(new PodConditionBuilder().withType("Ready").withStatus("False").build())
        .endStatus().build());
    check(unready.getStatus().getConditions().get(0).getStatus().equals("False"), "status " + unready);
    client.pods().withName("web-1").withGracePeriod(0).delete();
    return Set.of("add Pod web-1", "update Pod web-1", "delete Pod web-1");
  }

  static void await(Set<String> wanted) throws InterruptedException {
    while (!wanted.isEmpty()) {
      String event = seen.poll(30, TimeUnit.SECONDS);
      check(event != null, "not seen: " + wanted);
      wanted.remove(event);
    }
  }

  static void refused(int code, Runnable call) {
    try {
      call.run();
    } catch (KubernetesClientException refusal) {
      check(refusal.getCode() == code && refusal.getStatus().getReason() != null, "refused with " + refusal);
      return;
    }
    throw new AssertionError("nothing was refused with " + code);
  }

  static void check(boolean condition, String text) {
    if (!condition) {
      throw new AssertionError(text);
    }
  }

  static class Said implements Watcher<Service> {
    @Override
    public void eventReceived(Action action, Service service) {
      seen.add("watch " + action + " " + service.getMetadata().getName());
    }

    @Override
    public void onClose(WatcherException cause) {
      seen.add("watch closed: " + cause);
    }
  }

  static class Heard<T extends io.fabric8.kubernetes.api.model.HasMetadata> implements ResourceEventHandler<T> {
    @Override
    public void onAdd(T made) {
      tell("add", made);
    }

    @Override
    public void onUpdate(T before, T after) {
      tell("update", after);
    }

    @Override
    public void onDelete(T last, boolean unknown) {
      tell("delete", last);
    }

    void tell(String verb, T object) {
      seen.add(verb + " " + object.getKind() + " " + object.getMetadata().getName());
    }
  }
}

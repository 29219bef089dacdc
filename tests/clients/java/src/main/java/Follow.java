import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.client.Config;
import io.fabric8.kubernetes.client.ConfigBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.http.HttpClient;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;

/**
 * An informer on the Services of a namespace, for as long as it has input: {@code Follow URL CLASS NAMESPACE}.
 *
 * <p>It says "synced" when it has begun, and "add NAME" of each Service that it comes to know.
 */
public class Follow {
  public static void main(String[] arguments) throws Exception {
    HttpClient.Factory factory =
        (HttpClient.Factory) Class.forName(arguments[1]).getDeclaredConstructor().newInstance();
    Config config = new ConfigBuilder(Config.empty()).withMasterUrl(arguments[0]).build();
    KubernetesClient client =
        new KubernetesClientBuilder().withConfig(config).withHttpClientFactory(factory).build();
    client.services().inNamespace(arguments[2]).inform(new ResourceEventHandler<Service>() {
      @Override
      public void onAdd(Service made) {
        System.out.println("add " + made.getMetadata().getName());
      }

      @Override
      public void onUpdate(Service before, Service after) {}

      @Override
      public void onDelete(Service last, boolean unknown) {}
    });
    System.out.println("synced");
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}

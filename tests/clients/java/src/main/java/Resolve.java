import io.netty.channel.EventLoopGroup;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioDatagramChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.resolver.dns.DnsNameResolver;
import io.netty.resolver.dns.DnsNameResolverBuilder;
import io.netty.resolver.dns.SingletonDnsServerAddressStreamProvider;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Hashtable;
import java.util.List;
import javax.naming.NameNotFoundException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/**
 * Looks up names as Java programs do: {@code Resolve ADDRESS PORT DOMAIN...}, the domains being those of a search list.
 *
 * <p>Each line of the input is a resolver, a type and a name; each line of the output has the answers, in order.
 *
 * <pre>
 * jndi SRV _http._tcp.db.default.svc.cluster.local   the DNS provider of JNDI, of whole names
 * netty A db                                         Netty's resolver (Vert.x, gRPC, Spring), with ndots 5
 * </pre>
 *
 * A name that does not exist is "NXDOMAIN", one without such records "NODATA"; Netty tells both with one word, "NONE".
 */
public class Resolve {
  public static void main(String[] arguments) throws Exception {
    InetSocketAddress server = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
    EventLoopGroup loops = new NioEventLoopGroup(1);
    DnsNameResolver netty = new DnsNameResolverBuilder(loops.next())
        .channelType(NioDatagramChannel.class)
        .socketChannelType(NioSocketChannel.class)
        .nameServerProvider(new SingletonDnsServerAddressStreamProvider(server))
        .searchDomains(Arrays.asList(arguments).subList(2, arguments.length))
        .ndots(5)
        .ttl(0, 1)
        .build();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = lines.readLine()) != null; ) {
      String[] words = line.split(" ");
      List<String> answers = new ArrayList<>(
          words[0].equals("jndi") ? jndi(server, words[1], words[2]) : netty(netty, words[2]));
      Collections.sort(answers);
      System.out.println(String.join(",", answers));
    }
    System.exit(0);
  }

  static List<String> jndi(InetSocketAddress server, String type, String name) throws Exception {
    Hashtable<String, String> environment = new Hashtable<>();
    environment.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
    environment.put("java.naming.provider.url", "dns://" + server.getHostString() + ":" + server.getPort());
    InitialDirContext context = new InitialDirContext(environment);
    try {
      Attribute found = context.getAttributes(name, new String[] {type}).get(type);
      List<String> answers = new ArrayList<>();
      for (int index = 0; found != null && index < found.size(); index++) {
        answers.add(found.get(index).toString());
      }
      return answers.isEmpty() ? List.of("NODATA") : answers;
    } catch (NameNotFoundException nowhere) {
      return List.of("NXDOMAIN");
    } finally {
      context.close();
    }
  }

  static List<String> netty(DnsNameResolver resolver, String name) throws Exception {
    var found = resolver.resolveAll(name).await();
    if (!found.isSuccess()) {
      return List.of(found.cause() instanceof UnknownHostException ? "NONE" : found.cause().toString());
    }
    return found.getNow().stream().map(InetAddress::getHostAddress).toList();
  }
}

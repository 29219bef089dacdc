import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.type.LogicalType;
import io.fabric8.kubernetes.client.utils.KubernetesSerialization;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/**
 * Reads one object a line with fabric8's models and says of each line its class, or why it could not be read.
 *
 * <p>More strictly than fabric8's client: texts for numbers, numbers for texts and nulls for primitives are mistakes.
 * Fields that a model does not know are none, as its models keep them (so an older client reads what a newer API has).
 */
public class Decode {
  public static void main(String[] arguments) throws Exception {
    JsonMapper mapper = JsonMapper.builder()
        .findAndAddModules() // for java.time, as in the times of a Lease
        .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
        .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
        .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
        .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
        .withCoercionConfig(LogicalType.Textual, texts -> texts
            .setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
            .setCoercion(CoercionInputShape.Float, CoercionAction.Fail)
            .setCoercion(CoercionInputShape.Boolean, CoercionAction.Fail))
        .withCoercionConfig(LogicalType.Integer, numbers -> numbers
            .setCoercion(CoercionInputShape.String, CoercionAction.Fail))
        .build();
    KubernetesSerialization models = new KubernetesSerialization();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    StringBuilder told = new StringBuilder();
    for (String line; (line = lines.readLine()) != null; ) {
      try {
        JsonNode object = mapper.readTree(line);
        Class<?> model = models.getRegisteredKubernetesResource(
            object.get("apiVersion").textValue(), object.get("kind").textValue());
        told.append(mapper.readValue(line, model).getClass().getSimpleName());
      } catch (Exception refusal) {
        told.append(String.valueOf(refusal).replace('\n', ' '));
      }
      told.append('\n');
    }
    System.out.write(told.toString().getBytes(StandardCharsets.UTF_8));
    System.out.flush();
  }
}

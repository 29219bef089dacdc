// What Kubernetes' reader of YAML makes of texts: a list of texts as JSON on stdin; on stdout, in the same
// order, the JSON that each comes to, or null for one that is refused.
//
//	go run . < ../go_yaml_texts.json > ../go_yaml_values.json
package main

import (
	"encoding/json"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		panic(err)
	}
	values := make([]*string, len(texts))
	for i, text := range texts {
		if octets, err := yaml.YAMLToJSON([]byte(text)); err == nil {
			value := string(octets)
			values[i] = &value
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(values); err != nil {
		panic(err)
	}
}

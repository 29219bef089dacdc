// Decode reads one object a line as client-go's typed clients do, and says of each line whether it could.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	_ "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(line, nil, nil)
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}

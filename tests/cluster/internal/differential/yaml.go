package differential

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"immutable.dev/tests/cluster/internal/jsonlines"
)

// documents are the JSON documents of one file.
type documents struct {
	Documents []json.RawMessage `json:"documents"`
}

// RunYAMLToJSON is the program `yaml-to-json`: a line is a JSON string with the path of a file.
func RunYAMLToJSON() int {
	return answerStrings("yaml-to-json", func(path string) any {
		found, err := readDocuments(path)
		if err != nil {
			return jsonlines.Failure{Error: err.Error()}
		}
		return documents{Documents: found}
	})
}

// readDocuments does what kubectl does with a file that it is given: see StreamVisitor.Visit in
// k8s.io/cli-runtime/pkg/resource.
func readDocuments(path string) ([]json.RawMessage, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	found := []json.RawMessage{}
	for {
		document := runtime.RawExtension{}
		if err := decoder.Decode(&document); err != nil {
			if errors.Is(err, io.EOF) {
				return found, nil
			}
			return nil, err
		}
		document.Raw = bytes.TrimSpace(document.Raw)
		if len(document.Raw) == 0 || bytes.Equal(document.Raw, []byte("null")) {
			continue
		}
		found = append(found, json.RawMessage(document.Raw))
	}
}

// Package differential answers questions with the libraries that Kubernetes itself uses, for tests that compare our
// own answers with theirs.
package differential

import (
	// The digest algorithms that the kubelet knows.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"os"

	"github.com/distribution/reference"

	"immutable.dev/tests/cluster/internal/jsonlines"
)

// parsedReference is an image reference in its parts; a part that it lacks is empty.
type parsedReference struct {
	Domain string `json:"domain"`
	Path   string `json:"path"`
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
}

// RunReferenceParse is the program `reference-parse`: a line is a JSON string.
func RunReferenceParse() int {
	return answerStrings("reference-parse", func(text string) any {
		named, err := reference.ParseNormalizedNamed(text)
		if err != nil {
			return jsonlines.Failure{Error: err.Error()}
		}
		parsed := parsedReference{Domain: reference.Domain(named), Path: reference.Path(named)}
		if tagged, ok := named.(reference.Tagged); ok {
			parsed.Tag = tagged.Tag()
		}
		if digested, ok := named.(reference.Digested); ok {
			parsed.Digest = digested.Digest().String()
		}
		return parsed
	})
}

// answerStrings answers lines that are JSON strings.
func answerStrings(program string, answer func(string) any) int {
	err := jsonlines.Answer(jsonlines.NewReader(os.Stdin), os.Stdout, func(line []byte) any {
		var text string
		if err := json.Unmarshal(line, &text); err != nil {
			return jsonlines.Failure{Error: fmt.Sprintf("the line is not a JSON string: %v", err)}
		}
		return answer(text)
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		return 1
	}
	return 0
}

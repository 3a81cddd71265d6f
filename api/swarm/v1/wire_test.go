package swarmv1_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	swarmv1 "github.com/skep/skep/api/swarm/v1"
)

var update = flag.Bool("update", false, "write testdata/schema.txt anew")

// messages calls do for every message of the protocol.
func messages(do func(protoreflect.MessageDescriptor)) {
	var walk func(protoreflect.MessageDescriptors)
	walk = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			if m := list.Get(i); !m.IsMapEntry() {
				do(m)
				walk(m.Messages())
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("docker.swarmkit.v1", func(f protoreflect.FileDescriptor) bool {
		walk(f.Messages())
		return true
	})
}

// Peers that nobody here wrote rely on numbers and types; a change of any is a
// break with them, however well it looks.
func TestSchema_staysAsPeersKnowIt(t *testing.T) {
	var lines []string
	messages(func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			kind := f.Kind().String()
			switch {
			case f.IsMap():
				kind = fmt.Sprintf("map<%s,%s>", f.MapKey().Kind(), f.MapValue().Kind())
			case f.Message() != nil:
				kind = string(f.Message().FullName())
			case f.Enum() != nil:
				kind = string(f.Enum().FullName())
			}
			if f.IsList() {
				kind = "[]" + kind
				if f.IsPacked() {
					kind += " packed"
				}
			}
			if o := f.ContainingOneof(); o != nil {
				kind += " of " + string(o.Name())
			}
			lines = append(lines, fmt.Sprintf("%s %d %s %s", m.FullName(), f.Number(), f.Name(), kind))
		}
	})
	protoregistry.GlobalFiles.RangeFilesByPackage("docker.swarmkit.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				lines = append(lines, fmt.Sprintf("rpc %s(%s stream=%t) %s stream=%t", m.FullName(), m.Input().Name(), m.IsStreamingClient(), m.Output().Name(), m.IsStreamingServer()))
			}
		}
		return true
	})
	messages(func(m protoreflect.MessageDescriptor) { lines = append(lines, enums(m.Enums())...) })
	protoregistry.GlobalFiles.RangeFilesByPackage("docker.swarmkit.v1", func(f protoreflect.FileDescriptor) bool {
		lines = append(lines, enums(f.Enums())...)
		return true
	})
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/schema.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		known := strings.Split(string(want), "\n")
		for _, l := range lines {
			if !slices.Contains(known, l) {
				t.Errorf("new: %s", l)
			}
		}
		for _, l := range known {
			if l != "" && !slices.Contains(lines, l) {
				t.Errorf("gone: %s", l)
			}
		}
	}
}

func enums(list protoreflect.EnumDescriptors) []string {
	var lines []string
	for i := range list.Len() {
		e := list.Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			lines = append(lines, fmt.Sprintf("enum %s %d %s", e.FullName(), v.Number(), v.Name()))
		}
	}
	return lines
}

// vt is what the code without reflection adds.
type vt interface {
	proto.Message
	MarshalVT() ([]byte, error)
	UnmarshalVT([]byte) error
	SizeVT() int
}

// What is written without reflection must be what is written with it, and keep
// what this version does not know.
func TestVT_saysTheSameAsReflection(t *testing.T) {
	for _, m := range []vt{
		&swarmv1.Node{}, &swarmv1.Service{}, &swarmv1.Task{}, &swarmv1.Network{}, &swarmv1.Cluster{}, &swarmv1.Secret{}, &swarmv1.Config{},
		&swarmv1.Resource{}, &swarmv1.Extension{}, &swarmv1.Volume{},
		&swarmv1.InternalRaftRequest{}, &swarmv1.Snapshot{}, &swarmv1.MaybeEncryptedRecord{}, &swarmv1.SessionMessage{}, &swarmv1.AssignmentsMessage{},
	} {
		t.Run(string(m.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				msg := m.ProtoReflect().New()
				fill(t, msg, 4)
				msg.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 5000, protowire.BytesType), "from tomorrow"))
				v := msg.Interface().(vt)
				wire, err := v.MarshalVT()
				if err != nil {
					t.Fatal(err)
				}
				if v.SizeVT() != len(wire) {
					t.Fatalf("SizeVT is %d, the wire has %d bytes", v.SizeVT(), len(wire))
				}
				slow := m.ProtoReflect().New().Interface()
				if err := proto.Unmarshal(wire, slow); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(v, slow) {
					t.Fatalf("reflection reads\n%v\nof\n%v", slow, v)
				}
				fast := m.ProtoReflect().New().Interface().(vt)
				if err := fast.UnmarshalVT(wire); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(v, fast) {
					t.Fatalf("UnmarshalVT reads\n%v\nof\n%v", fast, v)
				}
				if !bytes.Equal(fast.ProtoReflect().GetUnknown(), msg.GetUnknown()) {
					t.Fatal("unknown fields are lost")
				}
			})
		})
	}
}

// fill sets fields of a message to something, and of those below it as deep.
func fill(t *rapid.T, m protoreflect.Message, depth int) {
	if _, ok := m.Interface().(*anypb.Any); ok {
		return // its value would have to be of its type
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !rapid.Bool().Draw(t, string(f.Name())) || depth == 0 && f.Message() != nil {
			continue
		}
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			value := entries.NewValue()
			if f.MapValue().Message() != nil {
				fill(t, value.Message(), depth-1)
			} else {
				value = scalar(t, f.MapValue())
			}
			entries.Set(scalar(t, f.MapKey()).MapKey(), value)
		case f.IsList():
			list := m.Mutable(f).List()
			for range rapid.IntRange(1, 2).Draw(t, "n") {
				if f.Message() != nil {
					fill(t, list.AppendMutable().Message(), depth-1)
				} else {
					list.Append(scalar(t, f))
				}
			}
		case f.Message() != nil:
			fill(t, m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, scalar(t, f))
		}
	}
}

func scalar(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(rapid.IntRange(0, values.Len()-1).Draw(t, "enum")).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.Float32Range(0, 1).Draw(t, "float"))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.StringN(0, 8, -1).Draw(t, "string"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes"))
	}
	t.Fatalf("a field of kind %s", f.Kind())
	return protoreflect.Value{}
}

// Command conformance drives franz-go for the scenarios: one JSON line per call on stdin, one answer on stdout.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type record struct {
	Topic     string      `json:"topic,omitempty"`
	Partition *int32      `json:"partition"`
	Offset    int64       `json:"offset"`
	Key       *[]byte     `json:"key"`
	Value     *[]byte     `json:"value"`
	Headers   [][]*string `json:"headers"`
	Timestamp *int64      `json:"timestamp"`
}

type call struct {
	Op              string            `json:"op"`
	Handle          int               `json:"handle"`
	Topic           string            `json:"topic"`
	Partition       int32             `json:"partition"`
	Partitions      int32             `json:"partitions"`
	Replication     int16             `json:"replication"`
	Configs         map[string]string `json:"configs"`
	Key             string            `json:"key"`
	Value           *string           `json:"value"`
	Total           int               `json:"total"`
	Offset          int64             `json:"offset"`
	BeforeOffset    int64             `json:"before_offset"`
	Query           any               `json:"query"`
	Start           any               `json:"start"`
	TimeoutMs       int               `json:"timeout_ms"`
	Group           string            `json:"group"`
	InstanceID      *string           `json:"instance_id"`
	Metadata        *string           `json:"metadata"`
	Messages        []record          `json:"messages"`
	Compression     string            `json:"compression"`
	MaxRequestBytes int32             `json:"max_request_bytes"`
	Protocol        string            `json:"protocol"`
	Committed       *bool             `json:"committed"`
	TransactionalID string            `json:"transactional_id"`
	Commit          bool              `json:"commit"`
	Target          string            `json:"target"`
}

type driver struct {
	bootstrap string
	client    *kgo.Client
	admin     *kadm.Client
	consumers map[int]*consumer
	producers map[int]*kgo.Client
	next      int
}

func main() {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	if err != nil {
		panic(err)
	}
	d := &driver{os.Args[1], client, kadm.NewClient(client), map[int]*consumer{}, map[int]*kgo.Client{}, 0}
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		result, err := d.answer(ctx, &c)
		cancel()
		out.Encode(outcome(result, err))
	}
}

// lacking says that franz-go has no call for what is asked.
type lacking string

func (l lacking) Error() string { return string(l) }

func outcome(result any, err error) map[string]any {
	var missing lacking
	if errors.As(err, &missing) {
		return map[string]any{"lacking": missing.Error()}
	}
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return map[string]any{"code": refused.Code, "message": refused.Message}
	}
	if err != nil {
		return map[string]any{"failed": err.Error()}
	}
	return map[string]any{"ok": result}
}

func (d *driver) answer(ctx context.Context, c *call) (any, error) {
	switch c.Op {
	case "produce":
		return d.produce(ctx, c)
	case "reader_open", "join":
		return d.open(c)
	case "transactions_open", "transaction_begin", "transaction_send", "transaction_offsets", "transaction_end",
		"transactions_close":
		return d.transact(ctx, c)
	case "copy":
		return nil, d.copy(ctx, c)
	case "poll", "assignment", "commit", "reader_seek", "member_seek", "close":
		one, found := d.consumers[c.Handle]
		if !found {
			return nil, fmt.Errorf("no consumer %d", c.Handle)
		}
		if c.Op == "close" {
			delete(d.consumers, c.Handle)
		}
		return one.answer(ctx, c)
	}
	return d.administer(ctx, c)
}

func (c *call) records() []*kgo.Record {
	records := make([]*kgo.Record, 0, len(c.Messages))
	for _, message := range c.Messages {
		one := &kgo.Record{Topic: c.Topic, Partition: -1}
		if message.Key != nil {
			one.Key = *message.Key
		}
		if message.Value != nil {
			one.Value = *message.Value
		}
		if message.Partition != nil {
			one.Partition = *message.Partition
		}
		if message.Timestamp != nil {
			one.Timestamp = time.UnixMilli(*message.Timestamp)
		}
		for _, header := range message.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: *header[0], Value: fromText(header[1])})
		}
		records = append(records, one)
	}
	return records
}

func (d *driver) produce(ctx context.Context, c *call) (any, error) {
	options := []kgo.Opt{kgo.SeedBrokers(d.bootstrap)}
	if c.Messages[0].Partition != nil { // either all messages name their partition or none does
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	codecs := map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	if codec, found := codecs[c.Compression]; found {
		options = append(options, kgo.ProducerBatchCompression(codec))
	}
	if c.MaxRequestBytes > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(c.MaxRequestBytes))
	}
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	records := c.records()
	where := make([][2]int64, 0, len(records))
	for _, sent := range producer.ProduceSync(ctx, records...) {
		if sent.Err != nil {
			return nil, sent.Err
		}
	}
	for _, one := range records {
		where = append(where, [2]int64{int64(one.Partition), one.Offset})
	}
	return where, nil
}

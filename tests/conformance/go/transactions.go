package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (d *driver) transact(ctx context.Context, c *call) (any, error) {
	if c.Op == "transactions_open" {
		client, err := kgo.NewClient(kgo.SeedBrokers(d.bootstrap), kgo.TransactionalID(c.TransactionalID),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			return nil, err
		}
		if _, _, err := client.ProducerID(ctx); err != nil { // asked for now, not with the first record
			return nil, err
		}
		d.next++
		d.producers[d.next] = client
		return d.next, nil
	}
	client, found := d.producers[c.Handle]
	if !found {
		return nil, fmt.Errorf("no producer %d", c.Handle)
	}
	switch c.Op {
	case "transaction_begin":
		return nil, client.BeginTransaction()
	case "transaction_send":
		return nil, client.ProduceSync(ctx, c.records()...).FirstErr()
	case "transaction_end":
		return nil, client.EndTransaction(ctx, kgo.TransactionEndTry(c.Commit))
	case "transactions_close":
		delete(d.producers, c.Handle)
		client.Close()
		return nil, nil
	}
	return nil, lacking("franz-go sends offsets within a GroupTransactSession only")
}

// copy copies Total records exactly once; every third transaction is aborted and done again.
func (d *driver) copy(ctx context.Context, c *call) error {
	options := append(serverSide(c),
		kgo.SeedBrokers(d.bootstrap), kgo.TransactionalID(c.Group), kgo.ConsumerGroup(c.Group),
		kgo.ConsumeTopics(c.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	defer session.Close()
	for copied, number := 0, 0; copied < c.Total; {
		fetches := session.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		number++
		if err := session.Begin(); err != nil {
			return err
		}
		failure := errors.Join()
		fetches.EachRecord(func(r *kgo.Record) {
			record := &kgo.Record{Topic: c.Target, Partition: r.Partition, Key: r.Key, Value: r.Value}
			failure = errors.Join(failure, session.ProduceSync(ctx, record).FirstErr())
		})
		if failure != nil {
			return failure
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(number%3 != 1))
		if err != nil {
			return err
		}
		if committed {
			copied += fetches.NumRecords()
		}
	}
	return nil
}

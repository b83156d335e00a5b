#!/bin/sh
# Apache Kafka's jars from Maven Central into $ODRADEK_PEERS/kafka (default build/peers/kafka), once; prints the folder.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${ODRADEK_PEERS:-$root/build/peers}/kafka
for program in java mvn; do
    command -v "$program" >/dev/null || { echo "there is no $program on this machine" >&2; exit 1; }
done
if ! ls "$folder"/kafka_*.jar >/dev/null 2>&1; then
    mvn -q -B -f "$root/tests/peers/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder" >&2
fi
echo "$folder"

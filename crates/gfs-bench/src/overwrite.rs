//! Small overwrites and reads at random places of one file.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cluster::Bench;
use crate::data;
use crate::report::Row;

const PIECE: u64 = 4 << 10;
/// Bytes of the file.
const LENGTH: u64 = 1 << 30;
const CLIENTS: usize = 16;
const SPAN: Duration = Duration::from_secs(5);

/// The next of a sequence of places (Weyl, mixed), the same in every run.
fn place(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 20) % (LENGTH / PIECE) * PIECE
}

/// Each client has one on its way at a time.
pub(crate) async fn random(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let clients = bench.clients(CLIENTS).await?;
    data::write(bench, clients.get(..1).unwrap_or_default(), LENGTH).await?;
    let path = "/bench-0";
    for writes in [true, false] {
        let cpu = bench.cpu()?;
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for (number, client) in clients.iter().cloned().enumerate() {
            tasks.push(tokio::spawn(async move {
                let mut state = number as u64;
                let mut count = 0_u64;
                if writes {
                    let payload = Bytes::from(vec![number as u8; PIECE as usize]);
                    let file = client.open_overwrite(path).await?;
                    while begun.elapsed() < SPAN {
                        file.write_at(place(&mut state), payload.clone()).await?;
                        count += 1;
                    }
                    file.close().await?;
                } else {
                    let file = client.open(path).await?;
                    while begun.elapsed() < SPAN {
                        file.read_at(place(&mut state), PIECE as usize).await?;
                        count += 1;
                    }
                }
                gfs_client::Result::<u64>::Ok(count)
            }));
        }
        let mut count = 0;
        for task in tasks {
            count += task.await??;
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        let what = if writes { "overwrite" } else { "read" };
        rows.push(Row::new(format!("random 4 KiB {what}, 16 clients"), rate, "1/s"));
        let each = cpu.seconds()? / count as f64 * 1e6;
        rows.push(Row::new(format!("CPU of such a {what}"), each, "µs"));
    }
    data::remove(bench, 1).await
}

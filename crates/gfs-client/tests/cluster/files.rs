//! Reading and writing while nothing fails.

use std::io::{ErrorKind, SeekFrom};

use gfs_client::{CreateOptions, Error, ErrorCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::setup::{CHUNK, Setup, assert_same, text};

fn code(error: &std::io::Error) -> ErrorCode {
    error.get_ref().and_then(|e| e.downcast_ref::<Error>()).expect("an error of GFS").code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_every_size_come_back_as_they_were() {
    let setup = Setup::new(3).await;
    let client = &setup.client;
    client.mkdir_all("/a/b").await.unwrap();
    let sizes = [0, 1, 65_535, 65_536, 65_537, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 12_345];
    for (number, size) in sizes.into_iter().enumerate() {
        let path = format!("/a/b/file-{size}");
        let data = text(number as u64, 0, size as u64);
        let mut file = client.create(&path).await.unwrap();
        // In writes of odd sizes.
        for part in data.chunks(1 + 77_777 * (number + 1)) {
            file.write_all(part).await.unwrap();
        }
        let attributes = file.close().await.unwrap();
        assert_eq!(attributes.length, size as u64, "{path}");
        assert!(!attributes.open_for_write);
        assert_eq!(client.stat(&path).await.unwrap().length, size as u64);

        let mut file = client.open(&path).await.unwrap();
        assert_eq!(file.len(), size as u64);
        let mut got = Vec::new();
        file.read_to_end(&mut got).await.unwrap();
        assert_same(&got, &data);
        for (at, length) in [(0, 10), (size / 2, 100_000), (size.saturating_sub(5), 50), (size, 1)]
        {
            let got = file.read_at(at as u64, length).await.unwrap();
            assert_same(&got, &data[at..(at + length).min(size)]);
        }
        assert!(file.read_at(size as u64 + 1_000_000, 1).await.unwrap().is_empty());
    }
    let names: Vec<String> =
        client.list("/a/b").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), sizes.len());

    // Without copies in between, both ways.
    let data = text(99, 0, 5 * CHUNK as u64 + 3);
    let mut file = client.create("/a/pieces").await.unwrap();
    file.write_bytes(data.slice(..10)).await.unwrap();
    file.write_bytes(data.slice(10..2 * CHUNK)).await.unwrap();
    file.write_all(&data[2 * CHUNK..2 * CHUNK + 5]).await.unwrap();
    file.write_bytes(data.slice(2 * CHUNK + 5..3 * CHUNK)).await.unwrap();
    let rest = &data[3 * CHUNK..];
    assert_eq!(file.copy_from(&mut &*rest).await.unwrap(), rest.len() as u64);
    file.close().await.unwrap();
    let mut got = Vec::new();
    let copied = client.open("/a/pieces").await.unwrap().copy_to(&mut got).await.unwrap();
    assert_eq!(copied, data.len() as u64);
    assert_same(&got, &data);

    // Many at once.
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let path = format!("/many/{number}");
                let options = CreateOptions { parents: true, ..CreateOptions::default() };
                let data = text(number, 0, 300_000 * number);
                let mut file = client.create_with(&path, options).await.unwrap();
                file.write_all(&data).await.unwrap();
                file.close().await.unwrap();
                let got = client.open(&path).await.unwrap().read_at(0, 1 << 24).await.unwrap();
                assert_same(&got, &data);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_and_wrong_ways_of_use() {
    let setup = Setup::new(3).await;
    let client = &setup.client;
    let data = text(7, 0, 2 * CHUNK as u64 + 100);
    let mut file = client.create("/file").await.unwrap();
    file.write_all(&data).await.unwrap();
    // Only at the end, and no reading.
    let mut byte = [0];
    let error = file.read(&mut byte).await.unwrap_err();
    assert_eq!((error.kind(), code(&error)), (ErrorKind::Unsupported, ErrorCode::Unsupported));
    file.seek(SeekFrom::Start(5)).await.unwrap();
    assert_eq!(file.write(b"x").await.unwrap_err().kind(), ErrorKind::Unsupported);
    file.seek(SeekFrom::End(0)).await.unwrap();
    file.write_all(b"x").await.unwrap();
    file.close().await.unwrap();

    let mut file = client.open("/file").await.unwrap();
    assert_eq!(file.write(b"x").await.unwrap_err().kind(), ErrorKind::Unsupported);
    for at in [CHUNK as u64 + 17, 3, 2 * CHUNK as u64 - 1] {
        assert_eq!(file.seek(SeekFrom::Start(at)).await.unwrap(), at);
        let mut got = vec![0; 100];
        file.read_exact(&mut got).await.unwrap();
        assert_same(&got, &data[at as usize..at as usize + 100]);
        assert_eq!(file.stream_position().await.unwrap(), at + 100);
    }
    assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), data.len() as u64);
    assert_eq!(file.read_u8().await.unwrap(), b'x');
    assert_eq!(file.read(&mut byte).await.unwrap(), 0);
    assert!(file.seek(SeekFrom::Current(-1 << 60)).await.is_err());
    assert_eq!(file.read_at(u64::MAX, 10).await.unwrap_err().code(), ErrorCode::OutOfRange);

    for (path, expected) in [
        ("relative", ErrorCode::InvalidArgument),
        ("", ErrorCode::InvalidArgument),
        ("/../x", ErrorCode::InvalidArgument),
        ("/none", ErrorCode::NotFound),
        ("/", ErrorCode::IsADirectory),
        ("/file/below", ErrorCode::NotADirectory),
    ] {
        assert_eq!(client.open(path).await.unwrap_err().code(), expected, "open {path}");
        let error = client.open_write(path).await.unwrap_err();
        assert_eq!(error.code(), expected, "open {path} to append");
    }
    assert_eq!(client.create("/file").await.unwrap_err().code(), ErrorCode::AlreadyExists);
    assert_eq!(client.create("/no/dir").await.unwrap_err().code(), ErrorCode::NotFound);
    let error = client.create("/file").await.unwrap_err();
    assert!(error.to_string().contains("/file"), "{error}");
}

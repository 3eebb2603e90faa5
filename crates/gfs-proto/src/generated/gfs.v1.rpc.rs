// Generated from proto/gfs/v1 by `make generate`. Do not edit.
/// Generated client implementations.
pub mod admin_client {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    use tonic::codegen::http::Uri;
    #[derive(Debug, Clone)]
    pub struct AdminClient<T> {
        inner: tonic::client::Grpc<T>,
    }
    impl<T> AdminClient<T>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
    {
        pub fn new(inner: T) -> Self {
            let inner = tonic::client::Grpc::new(inner);
            Self { inner }
        }
        pub fn with_origin(inner: T, origin: Uri) -> Self {
            let inner = tonic::client::Grpc::with_origin(inner, origin);
            Self { inner }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> AdminClient<InterceptedService<T, F>>
        where
            F: tonic::service::Interceptor,
            T::ResponseBody: Default,
            T: tonic::codegen::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<
                    <T as tonic::client::GrpcService<tonic::body::Body>>::ResponseBody,
                >,
            >,
            <T as tonic::codegen::Service<
                http::Request<tonic::body::Body>,
            >>::Error: Into<StdError> + std::marker::Send + std::marker::Sync,
        {
            AdminClient::new(InterceptedService::new(inner, interceptor))
        }
        /// Compress requests with the given encoding.
        ///
        /// This requires the server to support it otherwise it might respond with an
        /// error.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.send_compressed(encoding);
            self
        }
        /// Enable decompressing responses.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.accept_compressed(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_decoding_message_size(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_encoding_message_size(limit);
            self
        }
        /// Health of the cluster on one page.
        pub async fn status(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::StatusRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::StatusResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/Status");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "Status"));
            self.inner.unary(req, path, codec).await
        }
        /// Every server.
        pub async fn list_servers(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ListServersRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListServersResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/ListServers");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "ListServers"));
            self.inner.unary(req, path, codec).await
        }
        /// Consistency of namespace, chunk table and reports. Changes nothing.
        pub async fn fsck(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::FsckRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::FsckResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/Fsck");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "Fsck"));
            self.inner.unary(req, path, codec).await
        }
        /// What Kubernetes says of the pods. Sent by the operator on every change and at least every 10 s.
        pub async fn set_pod_states(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::SetPodStatesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetPodStatesResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Admin/SetPodStates",
            );
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "SetPodStates"));
            self.inner.unary(req, path, codec).await
        }
        /// Has all chunks moved away from a server, or takes that back. The mark is persisted; the moving
        /// goes on by itself, after all repair, and is seen in Status. Asking twice is the same as once.
        /// Refused (INVALID_ARGUMENT) where the servers that stay are fewer than a goal, or have too little
        /// room; NOT_FOUND if there is no such server.
        pub async fn set_drain(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::SetDrainRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetDrainResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/SetDrain");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "SetDrain"));
            self.inner.unary(req, path, codec).await
        }
        /// Has copies moved now until servers are equally full, or has that stopped. Unasked it begins when
        /// they differ by more than a tenth of their space. A master that takes over knows nothing of it.
        pub async fn rebalance(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RebalanceRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RebalanceResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/Rebalance");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "Rebalance"));
            self.inner.unary(req, path, codec).await
        }
        /// Announces that a server goes away for a short time: no repair on its account meanwhile.
        pub async fn set_maintenance(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::SetMaintenanceRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetMaintenanceResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Admin/SetMaintenance",
            );
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("gfs.v1.Admin", "SetMaintenance"));
            self.inner.unary(req, path, codec).await
        }
        /// Ends rollback mode: chunks that no file has are deleted again, also those made after the
        /// metadata that is there now. Unless confirmed, only says how many these are. Nothing to do where
        /// there is no rollback mode.
        pub async fn end_rollback(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::EndRollbackRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::EndRollbackResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Admin/EndRollback");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Admin", "EndRollback"));
            self.inner.unary(req, path, codec).await
        }
    }
}
/// Generated server implementations.
pub mod admin_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with AdminServer.
    #[async_trait]
    pub trait Admin: std::marker::Send + std::marker::Sync + 'static {
        /// Health of the cluster on one page.
        async fn status(
            &self,
            request: tonic::Request<crate::v1::StatusRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::StatusResponse>,
            tonic::Status,
        >;
        /// Every server.
        async fn list_servers(
            &self,
            request: tonic::Request<crate::v1::ListServersRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListServersResponse>,
            tonic::Status,
        >;
        /// Consistency of namespace, chunk table and reports. Changes nothing.
        async fn fsck(
            &self,
            request: tonic::Request<crate::v1::FsckRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::FsckResponse>,
            tonic::Status,
        >;
        /// What Kubernetes says of the pods. Sent by the operator on every change and at least every 10 s.
        async fn set_pod_states(
            &self,
            request: tonic::Request<crate::v1::SetPodStatesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetPodStatesResponse>,
            tonic::Status,
        >;
        /// Has all chunks moved away from a server, or takes that back. The mark is persisted; the moving
        /// goes on by itself, after all repair, and is seen in Status. Asking twice is the same as once.
        /// Refused (INVALID_ARGUMENT) where the servers that stay are fewer than a goal, or have too little
        /// room; NOT_FOUND if there is no such server.
        async fn set_drain(
            &self,
            request: tonic::Request<crate::v1::SetDrainRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetDrainResponse>,
            tonic::Status,
        >;
        /// Has copies moved now until servers are equally full, or has that stopped. Unasked it begins when
        /// they differ by more than a tenth of their space. A master that takes over knows nothing of it.
        async fn rebalance(
            &self,
            request: tonic::Request<crate::v1::RebalanceRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RebalanceResponse>,
            tonic::Status,
        >;
        /// Announces that a server goes away for a short time: no repair on its account meanwhile.
        async fn set_maintenance(
            &self,
            request: tonic::Request<crate::v1::SetMaintenanceRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetMaintenanceResponse>,
            tonic::Status,
        >;
        /// Ends rollback mode: chunks that no file has are deleted again, also those made after the
        /// metadata that is there now. Unless confirmed, only says how many these are. Nothing to do where
        /// there is no rollback mode.
        async fn end_rollback(
            &self,
            request: tonic::Request<crate::v1::EndRollbackRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::EndRollbackResponse>,
            tonic::Status,
        >;
    }
    #[derive(Debug)]
    pub struct AdminServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> AdminServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for AdminServer<T>
    where
        T: Admin,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/gfs.v1.Admin/Status" => {
                    #[allow(non_camel_case_types)]
                    struct StatusSvc<T: Admin>(pub Arc<T>);
                    impl<T: Admin> tonic::server::UnaryService<crate::v1::StatusRequest>
                    for StatusSvc<T> {
                        type Response = crate::v1::StatusResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::StatusRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::status(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = StatusSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/ListServers" => {
                    #[allow(non_camel_case_types)]
                    struct ListServersSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::ListServersRequest>
                    for ListServersSvc<T> {
                        type Response = crate::v1::ListServersResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ListServersRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::list_servers(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ListServersSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/Fsck" => {
                    #[allow(non_camel_case_types)]
                    struct FsckSvc<T: Admin>(pub Arc<T>);
                    impl<T: Admin> tonic::server::UnaryService<crate::v1::FsckRequest>
                    for FsckSvc<T> {
                        type Response = crate::v1::FsckResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::FsckRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::fsck(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = FsckSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/SetPodStates" => {
                    #[allow(non_camel_case_types)]
                    struct SetPodStatesSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::SetPodStatesRequest>
                    for SetPodStatesSvc<T> {
                        type Response = crate::v1::SetPodStatesResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::SetPodStatesRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::set_pod_states(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = SetPodStatesSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/SetDrain" => {
                    #[allow(non_camel_case_types)]
                    struct SetDrainSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::SetDrainRequest>
                    for SetDrainSvc<T> {
                        type Response = crate::v1::SetDrainResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::SetDrainRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::set_drain(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = SetDrainSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/Rebalance" => {
                    #[allow(non_camel_case_types)]
                    struct RebalanceSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::RebalanceRequest>
                    for RebalanceSvc<T> {
                        type Response = crate::v1::RebalanceResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RebalanceRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::rebalance(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RebalanceSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/SetMaintenance" => {
                    #[allow(non_camel_case_types)]
                    struct SetMaintenanceSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::SetMaintenanceRequest>
                    for SetMaintenanceSvc<T> {
                        type Response = crate::v1::SetMaintenanceResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::SetMaintenanceRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::set_maintenance(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = SetMaintenanceSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Admin/EndRollback" => {
                    #[allow(non_camel_case_types)]
                    struct EndRollbackSvc<T: Admin>(pub Arc<T>);
                    impl<
                        T: Admin,
                    > tonic::server::UnaryService<crate::v1::EndRollbackRequest>
                    for EndRollbackSvc<T> {
                        type Response = crate::v1::EndRollbackResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::EndRollbackRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Admin>::end_rollback(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = EndRollbackSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => {
                    Box::pin(async move {
                        let mut response = http::Response::new(
                            tonic::body::Body::default(),
                        );
                        let headers = response.headers_mut();
                        headers
                            .insert(
                                tonic::Status::GRPC_STATUS,
                                (tonic::Code::Unimplemented as i32).into(),
                            );
                        headers
                            .insert(
                                http::header::CONTENT_TYPE,
                                tonic::metadata::GRPC_CONTENT_TYPE,
                            );
                        Ok(response)
                    })
                }
            }
        }
    }
    impl<T> Clone for AdminServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "gfs.v1.Admin";
    impl<T> tonic::server::NamedService for AdminServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
/// Generated client implementations.
pub mod data_client {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    use tonic::codegen::http::Uri;
    #[derive(Debug, Clone)]
    pub struct DataClient<T> {
        inner: tonic::client::Grpc<T>,
    }
    impl<T> DataClient<T>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
    {
        pub fn new(inner: T) -> Self {
            let inner = tonic::client::Grpc::new(inner);
            Self { inner }
        }
        pub fn with_origin(inner: T, origin: Uri) -> Self {
            let inner = tonic::client::Grpc::with_origin(inner, origin);
            Self { inner }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> DataClient<InterceptedService<T, F>>
        where
            F: tonic::service::Interceptor,
            T::ResponseBody: Default,
            T: tonic::codegen::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<
                    <T as tonic::client::GrpcService<tonic::body::Body>>::ResponseBody,
                >,
            >,
            <T as tonic::codegen::Service<
                http::Request<tonic::body::Body>,
            >>::Error: Into<StdError> + std::marker::Send + std::marker::Sync,
        {
            DataClient::new(InterceptedService::new(inner, interceptor))
        }
        /// Compress requests with the given encoding.
        ///
        /// This requires the server to support it otherwise it might respond with an
        /// error.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.send_compressed(encoding);
            self
        }
        /// Enable decompressing responses.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.accept_compressed(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_decoding_message_size(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_encoding_message_size(limit);
            self
        }
        /// Heads: PushRequest up, PushReply down.
        pub async fn push(
            &mut self,
            request: impl tonic::IntoStreamingRequest<Message = crate::v1::Bulk>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<crate::v1::Bulk>>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Data/Push");
            let mut req = request.into_streaming_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Data", "Push"));
            self.inner.streaming(req, path, codec).await
        }
        /// Heads: one ReadRequest up, ReadReply down.
        pub async fn read(
            &mut self,
            request: impl tonic::IntoStreamingRequest<Message = crate::v1::Bulk>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<crate::v1::Bulk>>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Data/Read");
            let mut req = request.into_streaming_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Data", "Read"));
            self.inner.streaming(req, path, codec).await
        }
        /// Among servers. Heads: one CopyRequest up, CopyReply down.
        pub async fn copy(
            &mut self,
            request: impl tonic::IntoStreamingRequest<Message = crate::v1::Bulk>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<crate::v1::Bulk>>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Data/Copy");
            let mut req = request.into_streaming_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Data", "Copy"));
            self.inner.streaming(req, path, codec).await
        }
        /// The length of an open chunk that is acknowledged; asked of the primary.
        pub async fn confirmed(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ConfirmedRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ConfirmedResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Data/Confirmed");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Data", "Confirmed"));
            self.inner.unary(req, path, codec).await
        }
        /// What became of a writer's mutations of a chunk that takes no more of them; asked of any current
        /// replica.
        pub async fn outcomes(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::OutcomesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::OutcomesResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Data/Outcomes");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Data", "Outcomes"));
            self.inner.unary(req, path, codec).await
        }
    }
}
/// Generated server implementations.
pub mod data_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with DataServer.
    #[async_trait]
    pub trait Data: std::marker::Send + std::marker::Sync + 'static {
        /// Server streaming response type for the Push method.
        type PushStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::v1::Bulk, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        /// Heads: PushRequest up, PushReply down.
        async fn push(
            &self,
            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
        ) -> std::result::Result<tonic::Response<Self::PushStream>, tonic::Status>;
        /// Server streaming response type for the Read method.
        type ReadStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::v1::Bulk, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        /// Heads: one ReadRequest up, ReadReply down.
        async fn read(
            &self,
            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
        ) -> std::result::Result<tonic::Response<Self::ReadStream>, tonic::Status>;
        /// Server streaming response type for the Copy method.
        type CopyStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::v1::Bulk, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        /// Among servers. Heads: one CopyRequest up, CopyReply down.
        async fn copy(
            &self,
            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
        ) -> std::result::Result<tonic::Response<Self::CopyStream>, tonic::Status>;
        /// The length of an open chunk that is acknowledged; asked of the primary.
        async fn confirmed(
            &self,
            request: tonic::Request<crate::v1::ConfirmedRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ConfirmedResponse>,
            tonic::Status,
        >;
        /// What became of a writer's mutations of a chunk that takes no more of them; asked of any current
        /// replica.
        async fn outcomes(
            &self,
            request: tonic::Request<crate::v1::OutcomesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::OutcomesResponse>,
            tonic::Status,
        >;
    }
    #[derive(Debug)]
    pub struct DataServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> DataServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for DataServer<T>
    where
        T: Data,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/gfs.v1.Data/Push" => {
                    #[allow(non_camel_case_types)]
                    struct PushSvc<T: Data>(pub Arc<T>);
                    impl<T: Data> tonic::server::StreamingService<crate::v1::Bulk>
                    for PushSvc<T> {
                        type Response = crate::v1::Bulk;
                        type ResponseStream = T::PushStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Data>::push(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = PushSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Data/Read" => {
                    #[allow(non_camel_case_types)]
                    struct ReadSvc<T: Data>(pub Arc<T>);
                    impl<T: Data> tonic::server::StreamingService<crate::v1::Bulk>
                    for ReadSvc<T> {
                        type Response = crate::v1::Bulk;
                        type ResponseStream = T::ReadStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Data>::read(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ReadSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Data/Copy" => {
                    #[allow(non_camel_case_types)]
                    struct CopySvc<T: Data>(pub Arc<T>);
                    impl<T: Data> tonic::server::StreamingService<crate::v1::Bulk>
                    for CopySvc<T> {
                        type Response = crate::v1::Bulk;
                        type ResponseStream = T::CopyStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<tonic::Streaming<crate::v1::Bulk>>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Data>::copy(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = CopySvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Data/Confirmed" => {
                    #[allow(non_camel_case_types)]
                    struct ConfirmedSvc<T: Data>(pub Arc<T>);
                    impl<
                        T: Data,
                    > tonic::server::UnaryService<crate::v1::ConfirmedRequest>
                    for ConfirmedSvc<T> {
                        type Response = crate::v1::ConfirmedResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ConfirmedRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Data>::confirmed(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ConfirmedSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Data/Outcomes" => {
                    #[allow(non_camel_case_types)]
                    struct OutcomesSvc<T: Data>(pub Arc<T>);
                    impl<T: Data> tonic::server::UnaryService<crate::v1::OutcomesRequest>
                    for OutcomesSvc<T> {
                        type Response = crate::v1::OutcomesResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::OutcomesRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Data>::outcomes(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = OutcomesSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => {
                    Box::pin(async move {
                        let mut response = http::Response::new(
                            tonic::body::Body::default(),
                        );
                        let headers = response.headers_mut();
                        headers
                            .insert(
                                tonic::Status::GRPC_STATUS,
                                (tonic::Code::Unimplemented as i32).into(),
                            );
                        headers
                            .insert(
                                http::header::CONTENT_TYPE,
                                tonic::metadata::GRPC_CONTENT_TYPE,
                            );
                        Ok(response)
                    })
                }
            }
        }
    }
    impl<T> Clone for DataServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "gfs.v1.Data";
    impl<T> tonic::server::NamedService for DataServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
/// Generated client implementations.
pub mod metadata_client {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    use tonic::codegen::http::Uri;
    #[derive(Debug, Clone)]
    pub struct MetadataClient<T> {
        inner: tonic::client::Grpc<T>,
    }
    impl<T> MetadataClient<T>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
    {
        pub fn new(inner: T) -> Self {
            let inner = tonic::client::Grpc::new(inner);
            Self { inner }
        }
        pub fn with_origin(inner: T, origin: Uri) -> Self {
            let inner = tonic::client::Grpc::with_origin(inner, origin);
            Self { inner }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> MetadataClient<InterceptedService<T, F>>
        where
            F: tonic::service::Interceptor,
            T::ResponseBody: Default,
            T: tonic::codegen::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<
                    <T as tonic::client::GrpcService<tonic::body::Body>>::ResponseBody,
                >,
            >,
            <T as tonic::codegen::Service<
                http::Request<tonic::body::Body>,
            >>::Error: Into<StdError> + std::marker::Send + std::marker::Sync,
        {
            MetadataClient::new(InterceptedService::new(inner, interceptor))
        }
        /// Compress requests with the given encoding.
        ///
        /// This requires the server to support it otherwise it might respond with an
        /// error.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.send_compressed(encoding);
            self
        }
        /// Enable decompressing responses.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.accept_compressed(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_decoding_message_size(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_encoding_message_size(limit);
            self
        }
        /// First call of a client: who is the cluster, how does it cut files. Any master answers.
        pub async fn connect(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ConnectRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ConnectResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Connect");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Connect"));
            self.inner.unary(req, path, codec).await
        }
        /// Attributes of one path.
        pub async fn stat(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::StatRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::StatResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Stat");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Stat"));
            self.inner.unary(req, path, codec).await
        }
        /// A page of a directory, in byte order of the names.
        pub async fn list(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ListRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/List");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "List"));
            self.inner.unary(req, path, codec).await
        }
        /// Makes a directory.
        pub async fn mkdir(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::MkdirRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::MkdirResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Mkdir");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Mkdir"));
            self.inner.unary(req, path, codec).await
        }
        /// Makes a file and, unless asked not to, allocates its first chunk and lets the caller write.
        pub async fn create(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::CreateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::CreateResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Create");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Create"));
            self.inner.unary(req, path, codec).await
        }
        /// Opens a file: attributes and the first locations, and the right to write if asked for.
        pub async fn open(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::OpenRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::OpenResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Open");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Open"));
            self.inner.unary(req, path, codec).await
        }
        /// Locations of a range of an open file. With `for_write`, of its last chunk with a lease.
        pub async fn locate(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::LocateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::LocateResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Locate");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Locate"));
            self.inner.unary(req, path, codec).await
        }
        /// The next chunk of a file being written: allocated once, the same for all who ask (the file's
        /// spare), a part of the file when its predecessor is full or sealed.
        pub async fn allocate(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::AllocateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::AllocateResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Allocate");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Allocate"));
            self.inner.unary(req, path, codec).await
        }
        /// A writer could not go on with a chunk: asks for a version that leaves out who is unreachable.
        /// Answers with the new location when the version change is committed.
        pub async fn recover(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RecoverRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RecoverResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Recover");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Recover"));
            self.inner.unary(req, path, codec).await
        }
        /// The chunk that holds an offset below the file's length, with a lease, so that its bytes can be
        /// overwritten; a hole becomes a chunk of zeros. Several clients may do so at once: the primary
        /// orders their mutations.
        pub async fn lease(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::LeaseRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::LeaseResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Lease");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Lease"));
            self.inner.unary(req, path, codec).await
        }
        /// Records the length of a file being written.
        pub async fn sync(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::SyncRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SyncResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Sync");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Sync"));
            self.inner.unary(req, path, codec).await
        }
        /// Records the final length, drops the spare and gives up the right to write.
        pub async fn close(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::CloseRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::CloseResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Close");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Close"));
            self.inner.unary(req, path, codec).await
        }
        /// Renames a file or directory, atomically, also across directories.
        pub async fn rename(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RenameRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RenameResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Rename");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Rename"));
            self.inner.unary(req, path, codec).await
        }
        /// Removes a file, an empty directory, or (recursive) a tree.
        pub async fn remove(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RemoveRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RemoveResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Remove");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Remove"));
            self.inner.unary(req, path, codec).await
        }
        /// Sets the replication goal of a file, whose chunks get or lose copies from then on, or of a
        /// directory, for files that are made in it from then on. A goal above the number of servers that
        /// are there is refused (INVALID_ARGUMENT). The durability: later.
        pub async fn set_attributes(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::SetAttributesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetAttributesResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Metadata/SetAttributes",
            );
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("gfs.v1.Metadata", "SetAttributes"));
            self.inner.unary(req, path, codec).await
        }
        /// Cuts a file, or extends it by a hole. BUSY while a client holds the right to write it.
        pub async fn truncate(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::TruncateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::TruncateResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Metadata/Truncate");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "Truncate"));
            self.inner.unary(req, path, codec).await
        }
        /// What was removed and can be restored, in order of inodes.
        pub async fn list_trash(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ListTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListTrashResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Metadata/ListTrash",
            );
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Metadata", "ListTrash"));
            self.inner.unary(req, path, codec).await
        }
        /// Brings a removed file or tree back, whole, with the inodes it had.
        pub async fn restore_trash(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RestoreTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RestoreTrashResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Metadata/RestoreTrash",
            );
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("gfs.v1.Metadata", "RestoreTrash"));
            self.inner.unary(req, path, codec).await
        }
        /// Gives up removed files and trees before their time.
        pub async fn empty_trash(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::EmptyTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::EmptyTrashResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Metadata/EmptyTrash",
            );
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("gfs.v1.Metadata", "EmptyTrash"));
            self.inner.unary(req, path, codec).await
        }
        /// A reader met bytes that do not match their checksum. The server verifies for itself.
        pub async fn report_damage(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ReportDamageRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ReportDamageResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Metadata/ReportDamage",
            );
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("gfs.v1.Metadata", "ReportDamage"));
            self.inner.unary(req, path, codec).await
        }
    }
}
/// Generated server implementations.
pub mod metadata_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with MetadataServer.
    #[async_trait]
    pub trait Metadata: std::marker::Send + std::marker::Sync + 'static {
        /// First call of a client: who is the cluster, how does it cut files. Any master answers.
        async fn connect(
            &self,
            request: tonic::Request<crate::v1::ConnectRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ConnectResponse>,
            tonic::Status,
        >;
        /// Attributes of one path.
        async fn stat(
            &self,
            request: tonic::Request<crate::v1::StatRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::StatResponse>,
            tonic::Status,
        >;
        /// A page of a directory, in byte order of the names.
        async fn list(
            &self,
            request: tonic::Request<crate::v1::ListRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListResponse>,
            tonic::Status,
        >;
        /// Makes a directory.
        async fn mkdir(
            &self,
            request: tonic::Request<crate::v1::MkdirRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::MkdirResponse>,
            tonic::Status,
        >;
        /// Makes a file and, unless asked not to, allocates its first chunk and lets the caller write.
        async fn create(
            &self,
            request: tonic::Request<crate::v1::CreateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::CreateResponse>,
            tonic::Status,
        >;
        /// Opens a file: attributes and the first locations, and the right to write if asked for.
        async fn open(
            &self,
            request: tonic::Request<crate::v1::OpenRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::OpenResponse>,
            tonic::Status,
        >;
        /// Locations of a range of an open file. With `for_write`, of its last chunk with a lease.
        async fn locate(
            &self,
            request: tonic::Request<crate::v1::LocateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::LocateResponse>,
            tonic::Status,
        >;
        /// The next chunk of a file being written: allocated once, the same for all who ask (the file's
        /// spare), a part of the file when its predecessor is full or sealed.
        async fn allocate(
            &self,
            request: tonic::Request<crate::v1::AllocateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::AllocateResponse>,
            tonic::Status,
        >;
        /// A writer could not go on with a chunk: asks for a version that leaves out who is unreachable.
        /// Answers with the new location when the version change is committed.
        async fn recover(
            &self,
            request: tonic::Request<crate::v1::RecoverRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RecoverResponse>,
            tonic::Status,
        >;
        /// The chunk that holds an offset below the file's length, with a lease, so that its bytes can be
        /// overwritten; a hole becomes a chunk of zeros. Several clients may do so at once: the primary
        /// orders their mutations.
        async fn lease(
            &self,
            request: tonic::Request<crate::v1::LeaseRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::LeaseResponse>,
            tonic::Status,
        >;
        /// Records the length of a file being written.
        async fn sync(
            &self,
            request: tonic::Request<crate::v1::SyncRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SyncResponse>,
            tonic::Status,
        >;
        /// Records the final length, drops the spare and gives up the right to write.
        async fn close(
            &self,
            request: tonic::Request<crate::v1::CloseRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::CloseResponse>,
            tonic::Status,
        >;
        /// Renames a file or directory, atomically, also across directories.
        async fn rename(
            &self,
            request: tonic::Request<crate::v1::RenameRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RenameResponse>,
            tonic::Status,
        >;
        /// Removes a file, an empty directory, or (recursive) a tree.
        async fn remove(
            &self,
            request: tonic::Request<crate::v1::RemoveRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RemoveResponse>,
            tonic::Status,
        >;
        /// Sets the replication goal of a file, whose chunks get or lose copies from then on, or of a
        /// directory, for files that are made in it from then on. A goal above the number of servers that
        /// are there is refused (INVALID_ARGUMENT). The durability: later.
        async fn set_attributes(
            &self,
            request: tonic::Request<crate::v1::SetAttributesRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::SetAttributesResponse>,
            tonic::Status,
        >;
        /// Cuts a file, or extends it by a hole. BUSY while a client holds the right to write it.
        async fn truncate(
            &self,
            request: tonic::Request<crate::v1::TruncateRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::TruncateResponse>,
            tonic::Status,
        >;
        /// What was removed and can be restored, in order of inodes.
        async fn list_trash(
            &self,
            request: tonic::Request<crate::v1::ListTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ListTrashResponse>,
            tonic::Status,
        >;
        /// Brings a removed file or tree back, whole, with the inodes it had.
        async fn restore_trash(
            &self,
            request: tonic::Request<crate::v1::RestoreTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RestoreTrashResponse>,
            tonic::Status,
        >;
        /// Gives up removed files and trees before their time.
        async fn empty_trash(
            &self,
            request: tonic::Request<crate::v1::EmptyTrashRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::EmptyTrashResponse>,
            tonic::Status,
        >;
        /// A reader met bytes that do not match their checksum. The server verifies for itself.
        async fn report_damage(
            &self,
            request: tonic::Request<crate::v1::ReportDamageRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ReportDamageResponse>,
            tonic::Status,
        >;
    }
    #[derive(Debug)]
    pub struct MetadataServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> MetadataServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for MetadataServer<T>
    where
        T: Metadata,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/gfs.v1.Metadata/Connect" => {
                    #[allow(non_camel_case_types)]
                    struct ConnectSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::ConnectRequest>
                    for ConnectSvc<T> {
                        type Response = crate::v1::ConnectResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ConnectRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::connect(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ConnectSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Stat" => {
                    #[allow(non_camel_case_types)]
                    struct StatSvc<T: Metadata>(pub Arc<T>);
                    impl<T: Metadata> tonic::server::UnaryService<crate::v1::StatRequest>
                    for StatSvc<T> {
                        type Response = crate::v1::StatResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::StatRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::stat(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = StatSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/List" => {
                    #[allow(non_camel_case_types)]
                    struct ListSvc<T: Metadata>(pub Arc<T>);
                    impl<T: Metadata> tonic::server::UnaryService<crate::v1::ListRequest>
                    for ListSvc<T> {
                        type Response = crate::v1::ListResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ListRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::list(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ListSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Mkdir" => {
                    #[allow(non_camel_case_types)]
                    struct MkdirSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::MkdirRequest>
                    for MkdirSvc<T> {
                        type Response = crate::v1::MkdirResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::MkdirRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::mkdir(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = MkdirSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Create" => {
                    #[allow(non_camel_case_types)]
                    struct CreateSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::CreateRequest>
                    for CreateSvc<T> {
                        type Response = crate::v1::CreateResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::CreateRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::create(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = CreateSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Open" => {
                    #[allow(non_camel_case_types)]
                    struct OpenSvc<T: Metadata>(pub Arc<T>);
                    impl<T: Metadata> tonic::server::UnaryService<crate::v1::OpenRequest>
                    for OpenSvc<T> {
                        type Response = crate::v1::OpenResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::OpenRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::open(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = OpenSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Locate" => {
                    #[allow(non_camel_case_types)]
                    struct LocateSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::LocateRequest>
                    for LocateSvc<T> {
                        type Response = crate::v1::LocateResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::LocateRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::locate(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = LocateSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Allocate" => {
                    #[allow(non_camel_case_types)]
                    struct AllocateSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::AllocateRequest>
                    for AllocateSvc<T> {
                        type Response = crate::v1::AllocateResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::AllocateRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::allocate(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = AllocateSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Recover" => {
                    #[allow(non_camel_case_types)]
                    struct RecoverSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::RecoverRequest>
                    for RecoverSvc<T> {
                        type Response = crate::v1::RecoverResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RecoverRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::recover(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RecoverSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Lease" => {
                    #[allow(non_camel_case_types)]
                    struct LeaseSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::LeaseRequest>
                    for LeaseSvc<T> {
                        type Response = crate::v1::LeaseResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::LeaseRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::lease(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = LeaseSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Sync" => {
                    #[allow(non_camel_case_types)]
                    struct SyncSvc<T: Metadata>(pub Arc<T>);
                    impl<T: Metadata> tonic::server::UnaryService<crate::v1::SyncRequest>
                    for SyncSvc<T> {
                        type Response = crate::v1::SyncResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::SyncRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::sync(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = SyncSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Close" => {
                    #[allow(non_camel_case_types)]
                    struct CloseSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::CloseRequest>
                    for CloseSvc<T> {
                        type Response = crate::v1::CloseResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::CloseRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::close(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = CloseSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Rename" => {
                    #[allow(non_camel_case_types)]
                    struct RenameSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::RenameRequest>
                    for RenameSvc<T> {
                        type Response = crate::v1::RenameResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RenameRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::rename(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RenameSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Remove" => {
                    #[allow(non_camel_case_types)]
                    struct RemoveSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::RemoveRequest>
                    for RemoveSvc<T> {
                        type Response = crate::v1::RemoveResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RemoveRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::remove(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RemoveSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/SetAttributes" => {
                    #[allow(non_camel_case_types)]
                    struct SetAttributesSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::SetAttributesRequest>
                    for SetAttributesSvc<T> {
                        type Response = crate::v1::SetAttributesResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::SetAttributesRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::set_attributes(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = SetAttributesSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/Truncate" => {
                    #[allow(non_camel_case_types)]
                    struct TruncateSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::TruncateRequest>
                    for TruncateSvc<T> {
                        type Response = crate::v1::TruncateResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::TruncateRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::truncate(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = TruncateSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/ListTrash" => {
                    #[allow(non_camel_case_types)]
                    struct ListTrashSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::ListTrashRequest>
                    for ListTrashSvc<T> {
                        type Response = crate::v1::ListTrashResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ListTrashRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::list_trash(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ListTrashSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/RestoreTrash" => {
                    #[allow(non_camel_case_types)]
                    struct RestoreTrashSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::RestoreTrashRequest>
                    for RestoreTrashSvc<T> {
                        type Response = crate::v1::RestoreTrashResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RestoreTrashRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::restore_trash(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RestoreTrashSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/EmptyTrash" => {
                    #[allow(non_camel_case_types)]
                    struct EmptyTrashSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::EmptyTrashRequest>
                    for EmptyTrashSvc<T> {
                        type Response = crate::v1::EmptyTrashResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::EmptyTrashRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::empty_trash(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = EmptyTrashSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Metadata/ReportDamage" => {
                    #[allow(non_camel_case_types)]
                    struct ReportDamageSvc<T: Metadata>(pub Arc<T>);
                    impl<
                        T: Metadata,
                    > tonic::server::UnaryService<crate::v1::ReportDamageRequest>
                    for ReportDamageSvc<T> {
                        type Response = crate::v1::ReportDamageResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ReportDamageRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Metadata>::report_damage(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ReportDamageSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => {
                    Box::pin(async move {
                        let mut response = http::Response::new(
                            tonic::body::Body::default(),
                        );
                        let headers = response.headers_mut();
                        headers
                            .insert(
                                tonic::Status::GRPC_STATUS,
                                (tonic::Code::Unimplemented as i32).into(),
                            );
                        headers
                            .insert(
                                http::header::CONTENT_TYPE,
                                tonic::metadata::GRPC_CONTENT_TYPE,
                            );
                        Ok(response)
                    })
                }
            }
        }
    }
    impl<T> Clone for MetadataServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "gfs.v1.Metadata";
    impl<T> tonic::server::NamedService for MetadataServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
/// Generated client implementations.
pub mod session_client {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    use tonic::codegen::http::Uri;
    #[derive(Debug, Clone)]
    pub struct SessionClient<T> {
        inner: tonic::client::Grpc<T>,
    }
    impl<T> SessionClient<T>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
    {
        pub fn new(inner: T) -> Self {
            let inner = tonic::client::Grpc::new(inner);
            Self { inner }
        }
        pub fn with_origin(inner: T, origin: Uri) -> Self {
            let inner = tonic::client::Grpc::with_origin(inner, origin);
            Self { inner }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> SessionClient<InterceptedService<T, F>>
        where
            F: tonic::service::Interceptor,
            T::ResponseBody: Default,
            T: tonic::codegen::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<
                    <T as tonic::client::GrpcService<tonic::body::Body>>::ResponseBody,
                >,
            >,
            <T as tonic::codegen::Service<
                http::Request<tonic::body::Body>,
            >>::Error: Into<StdError> + std::marker::Send + std::marker::Sync,
        {
            SessionClient::new(InterceptedService::new(inner, interceptor))
        }
        /// Compress requests with the given encoding.
        ///
        /// This requires the server to support it otherwise it might respond with an
        /// error.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.send_compressed(encoding);
            self
        }
        /// Enable decompressing responses.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.accept_compressed(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_decoding_message_size(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_encoding_message_size(limit);
            self
        }
        /// Opens a session. A second one of the same server ends the first.
        pub async fn register(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::RegisterRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RegisterResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Session/Register");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Session", "Register"));
            self.inner.unary(req, path, codec).await
        }
        /// A beat every 250 to 500 ms, an answer to each.
        pub async fn heartbeats(
            &mut self,
            request: impl tonic::IntoStreamingRequest<Message = crate::v1::Heartbeat>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<crate::v1::HeartbeatReply>>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/gfs.v1.Session/Heartbeats",
            );
            let mut req = request.into_streaming_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Session", "Heartbeats"));
            self.inner.streaming(req, path, codec).await
        }
        /// Commands of the master, results and notices of the server. The first message up is `hello`.
        pub async fn commands(
            &mut self,
            request: impl tonic::IntoStreamingRequest<Message = crate::v1::ServerMessage>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<crate::v1::Command>>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Session/Commands");
            let mut req = request.into_streaming_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Session", "Commands"));
            self.inner.streaming(req, path, codec).await
        }
        /// A page of what the server holds. Pages of one report share `report` and count from 0.
        pub async fn report(
            &mut self,
            request: impl tonic::IntoRequest<crate::v1::ReportRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ReportResponse>,
            tonic::Status,
        > {
            self.inner
                .ready()
                .await
                .map_err(|e| {
                    tonic::Status::unknown(
                        format!("Service was not ready: {}", e.into()),
                    )
                })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static("/gfs.v1.Session/Report");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new("gfs.v1.Session", "Report"));
            self.inner.unary(req, path, codec).await
        }
    }
}
/// Generated server implementations.
pub mod session_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with SessionServer.
    #[async_trait]
    pub trait Session: std::marker::Send + std::marker::Sync + 'static {
        /// Opens a session. A second one of the same server ends the first.
        async fn register(
            &self,
            request: tonic::Request<crate::v1::RegisterRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::RegisterResponse>,
            tonic::Status,
        >;
        /// Server streaming response type for the Heartbeats method.
        type HeartbeatsStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::v1::HeartbeatReply, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        /// A beat every 250 to 500 ms, an answer to each.
        async fn heartbeats(
            &self,
            request: tonic::Request<tonic::Streaming<crate::v1::Heartbeat>>,
        ) -> std::result::Result<tonic::Response<Self::HeartbeatsStream>, tonic::Status>;
        /// Server streaming response type for the Commands method.
        type CommandsStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::v1::Command, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        /// Commands of the master, results and notices of the server. The first message up is `hello`.
        async fn commands(
            &self,
            request: tonic::Request<tonic::Streaming<crate::v1::ServerMessage>>,
        ) -> std::result::Result<tonic::Response<Self::CommandsStream>, tonic::Status>;
        /// A page of what the server holds. Pages of one report share `report` and count from 0.
        async fn report(
            &self,
            request: tonic::Request<crate::v1::ReportRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::v1::ReportResponse>,
            tonic::Status,
        >;
    }
    #[derive(Debug)]
    pub struct SessionServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> SessionServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for SessionServer<T>
    where
        T: Session,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/gfs.v1.Session/Register" => {
                    #[allow(non_camel_case_types)]
                    struct RegisterSvc<T: Session>(pub Arc<T>);
                    impl<
                        T: Session,
                    > tonic::server::UnaryService<crate::v1::RegisterRequest>
                    for RegisterSvc<T> {
                        type Response = crate::v1::RegisterResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::RegisterRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Session>::register(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = RegisterSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Session/Heartbeats" => {
                    #[allow(non_camel_case_types)]
                    struct HeartbeatsSvc<T: Session>(pub Arc<T>);
                    impl<
                        T: Session,
                    > tonic::server::StreamingService<crate::v1::Heartbeat>
                    for HeartbeatsSvc<T> {
                        type Response = crate::v1::HeartbeatReply;
                        type ResponseStream = T::HeartbeatsStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<
                                tonic::Streaming<crate::v1::Heartbeat>,
                            >,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Session>::heartbeats(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = HeartbeatsSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Session/Commands" => {
                    #[allow(non_camel_case_types)]
                    struct CommandsSvc<T: Session>(pub Arc<T>);
                    impl<
                        T: Session,
                    > tonic::server::StreamingService<crate::v1::ServerMessage>
                    for CommandsSvc<T> {
                        type Response = crate::v1::Command;
                        type ResponseStream = T::CommandsStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<
                                tonic::Streaming<crate::v1::ServerMessage>,
                            >,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Session>::commands(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = CommandsSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/gfs.v1.Session/Report" => {
                    #[allow(non_camel_case_types)]
                    struct ReportSvc<T: Session>(pub Arc<T>);
                    impl<
                        T: Session,
                    > tonic::server::UnaryService<crate::v1::ReportRequest>
                    for ReportSvc<T> {
                        type Response = crate::v1::ReportResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::v1::ReportRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as Session>::report(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ReportSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => {
                    Box::pin(async move {
                        let mut response = http::Response::new(
                            tonic::body::Body::default(),
                        );
                        let headers = response.headers_mut();
                        headers
                            .insert(
                                tonic::Status::GRPC_STATUS,
                                (tonic::Code::Unimplemented as i32).into(),
                            );
                        headers
                            .insert(
                                http::header::CONTENT_TYPE,
                                tonic::metadata::GRPC_CONTENT_TYPE,
                            );
                        Ok(response)
                    })
                }
            }
        }
    }
    impl<T> Clone for SessionServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "gfs.v1.Session";
    impl<T> tonic::server::NamedService for SessionServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
